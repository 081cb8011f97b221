"""List what an output keeps of videos that are gone and of runs that were stopped, and remove it on request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from curator_dask.errors import InputError
from curator_dask.files.buckets.meeting import folder_for_buckets
from curator_dask.files.folder import Folder
from curator_dask.files.layout import UNITS, preview_path
from curator_dask.files.names import counted
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.verify.check_files import orphaned
from curator_dask.verify.gone_videos import GoneVideos
from curator_dask.verify.recorded_files import FileRecords, RecordedFiles, UnitKey
from curator_dask.verify.stage_records import StageRecords, find_stages, recorded_stages

PREVIEWS = "previews"


@dataclass(frozen=True)
class Leftovers:
    """What nobody needs any more in an output."""

    videos: tuple[str, ...]
    """Videos that are gone, and that ``clips.parquet`` does not name any more: paths below the
    folder of the videos, or whole paths of those that could not be read."""
    files: tuple[str, ...]
    """Their clips, records and previews, and what stopped runs left: paths below the output."""
    num_bytes: int
    num_still_listed: int
    """Videos that are gone, but have clips in ``clips.parquet``: nothing of them is a leftover before the next run."""
    removed: bool = False


@dataclass(frozen=True)
class _Found:
    leftovers: Leftovers
    units: Set[UnitKey]
    orphans: Sequence[str]


def prune_output(path: str, *, remove: bool = False, storage_options: Mapping[str, Any] | None = None) -> Leftovers:
    """List the files of videos that are gone, and what stopped runs left; remove them with `remove`.

    Clips of a video that is gone stay until a run has left them out of ``clips.parquet``. Files that no stage recorded,
    such as your own, are never removed.

    Args:
        path: the output of a run: a folder or a URL.
        remove: remove what is found.
        storage_options: fsspec options for `path` and for the folder of the videos.

    Raises:
        InputError: no stage has left its records there, a record is damaged, or the folder of the videos is not there.
        FolderLockedError: a run works there.
    """
    root = Folder(path, dict(storage_options or {}))
    if not remove:
        return _find(root)[0].leftovers
    stages = find_stages(root, (entry.path for entry in root.each_entry(hidden=True)), lambda unit: None)
    with locked_stages([(stage.state.folder, stage.name) for stage in stages], set()):
        found, stages = _find(root)
        for stage in stages:
            stage.state.forget([key for number, key in found.units if number == stage.number])
        for orphan in found.orphans:
            root.remove(orphan)
    return replace(found.leftovers, removed=True)


def _find(root: Folder) -> tuple[_Found, list[StageRecords]]:
    with folder_for_buckets() as scratch:
        files, gone = RecordedFiles(scratch), GoneVideos()
        stages = recorded_stages(root, files, gone.look_at)
        if not stages:
            raise InputError(f"{root.url} holds no records of a stage: give the output folder of a run")
        _refuse_damaged(root, stages)
        gone.check()
        num_still_listed = gone.leave_out_needed(stages, files)
        units = gone.units.keys() | _previews_of(gone, stages, files)
        orphans = [file.path for file in orphaned(stages, files)]
        leftovers = Leftovers(gone.names(), *_files_of(stages, files, units, set(orphans)), num_still_listed)
    return _Found(leftovers, units, orphans), stages


def _files_of(
    stages: Sequence[StageRecords], files: Iterable[FileRecords], units: Set[UnitKey], orphans: Set[str]
) -> tuple[tuple[str, ...], int]:
    """What the units wrote, their markers, which have files of their own or not, and the orphans; with their bytes."""
    others = orphans | {stages[at].prefix + stages[at].state.path(UNITS, f"{key}.json") for at, key in units}
    found = [
        (file.path, file.num_bytes)
        for file in files
        if file.num_bytes is not None and (file.path in others or not units.isdisjoint(file.units()))
    ]
    return tuple(sorted(path for path, _ in found)), sum(num_bytes for _, num_bytes in found)


def _previews_of(gone: GoneVideos, stages: Sequence[StageRecords], files: Iterable[FileRecords]) -> set[UnitKey]:
    """The units of previews of clips of videos that are gone."""
    paths = {stages[at].prefix + preview_path(clip): stages[at].prefix for at, clip in gone.clips()}
    made = ((paths[file.path], *one) for file in (files if paths else ()) if file.path in paths for one in file.units())
    return {(at, key) for prefix, at, key in made if stages[at].name == PREVIEWS and stages[at].prefix == prefix}


def _refuse_damaged(root: Folder, stages: Iterable[StageRecords]) -> None:
    damaged = [stage.prefix + path for stage in stages for path in stage.damaged]
    if damaged:
        raise InputError(
            f"{counted(len(damaged), 'records')} cannot be read, such as {root.join(damaged[0])}, so it is not known what is "
            f"left over. Mark them with: curator-dask verify {root.url} --repair, run the same command as before, and prune then"
        )
