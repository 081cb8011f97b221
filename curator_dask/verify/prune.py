"""List what an output keeps of videos that are gone and of runs that were stopped, and remove it on request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curator_dask.data.clip_index import clip_index_batches, has_clip_index
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import UNITS, preview_path
from curator_dask.files.names import counted
from curator_dask.files.video_listing import source_folder
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.stages.split.long_video import PART_OF
from curator_dask.verify.check_files import unrecorded
from curator_dask.verify.finding import ORPHANED
from curator_dask.verify.stage_records import StageRecords, find_stages

SPLIT, PREVIEWS = "split", "previews"


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
    units: Sequence[tuple[StageRecords, str]]
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
    stages = find_stages(root, root.entries(hidden=True))
    if not stages:
        raise InputError(f"{path} holds no records of a stage: give the output folder of a run")
    if not remove:
        return _find(root, stages).leftovers
    with locked_stages([(stage.state.folder, stage.name) for stage in stages], set()):
        found = _find(root, find_stages(root, root.entries(hidden=True)))
        for state in {stage.state: None for stage, _ in found.units}:
            state.forget([key for stage, key in found.units if stage.state == state])
        for orphan in found.orphans:
            root.remove(orphan)
    return replace(found.leftovers, removed=True)


def _find(root: Folder, stages: Sequence[StageRecords]) -> _Found:
    _refuse_damaged(root, stages)
    sizes = {entry.path: entry.num_bytes for entry in root.entries(hidden=True)}
    orphans = [one.path for one in unrecorded(stages, sizes) if one.kind == ORPHANED and one.path in sizes]
    units: list[tuple[StageRecords, str]] = []
    videos: list[str] = []
    num_still_listed = 0
    for stage in stages:
        if stage.name == SPLIT:
            gone, listed = _units_of_gone_videos(stage)
            num_still_listed += listed
            videos += _names_of_videos(gone)
            units += [(stage, unit.key) for unit in gone]
            units += _previews_of(gone, [one for one in stages if one.name == PREVIEWS and one.prefix == stage.prefix])
    files = {path for stage, key in units for path in _files_of(stage, key) if path in sizes} | set(orphans)
    num_bytes = sum(sizes[path] for path in files)
    return _Found(Leftovers(tuple(sorted(videos)), tuple(sorted(files)), num_bytes, num_still_listed), units, orphans)


def _refuse_damaged(root: Folder, stages: Iterable[StageRecords]) -> None:
    damaged = [stage.prefix + path for stage in stages for path in stage.damaged]
    if damaged:
        raise InputError(
            f"{counted(len(damaged), 'records')} cannot be read, such as {root.join(damaged[0])}, so it is not known what is "
            f"left over. Mark them with: curator-dask verify {root.url} --repair, run the same command as before, and prune then"
        )


def _units_of_gone_videos(split: StageRecords) -> tuple[list[UnitRecord], int]:
    """The units whose video is gone and that the index does not name, and the number of those that it still names."""
    present = _videos_present(split)
    gone = [unit for unit in split.units.values() if _key_of_video(unit) not in present]
    listed = _listed_ids(split.state.folder)
    needed = {path for unit in split.units.values() if _key_of_video(unit) in present for path in unit.outputs}
    kept = {
        _key_of_video(unit)
        for unit in gone
        if not listed.isdisjoint(_clip_ids(unit)) or not needed.isdisjoint(unit.outputs)
    }
    return [unit for unit in gone if _key_of_video(unit) not in kept], len(kept)


def _key_of_video(unit: UnitRecord) -> str:
    """The key of the unit of the whole video: a long one has further units for its parts."""
    return str(unit.data.get(PART_OF, unit.key))


def _videos_present(split: StageRecords) -> set[str]:
    """The keys of the units of all files in the folder of the videos, whether or not a run would choose them."""
    recorded = split.state.recorded_path("video_dir") or ""
    folder = source_folder(Folder(recorded, split.state.folder.storage_options))
    entries = folder.entries(hidden=True) if recorded and folder.exists() else []
    if not entries and split.units:
        raise InputError(
            f"{folder.url}, the folder of the videos, is not there or holds no file, so nothing can be called gone: "
            "make it reachable, then prune"
        )
    return {digest(entry.path) for entry in entries}


def _listed_ids(folder: Folder) -> set[str]:
    batches = clip_index_batches(folder, ["id"]) if has_clip_index(folder) else ()
    return {name for batch in batches for name in batch["id"].to_pylist()}


def _clip_ids(unit: UnitRecord) -> list[str]:
    return [row["id"] for row in unit.data.get("clips", ())]


def _names_of_videos(units: Iterable[UnitRecord]) -> list[str]:
    """Their paths; of a video without clips, what its failure names, else its key."""
    names: dict[str, str] = {}
    for unit in units:
        rows = unit.data.get("clips", ())
        named = [row["relative_path"] for row in rows] or [failure.source for failure in unit.failures]
        names.setdefault(_key_of_video(unit), "")
        names[_key_of_video(unit)] = names[_key_of_video(unit)] or next(iter(named), "")
    return [name or key for key, name in names.items()]


def _previews_of(gone: Iterable[UnitRecord], stages: Iterable[StageRecords]) -> list[tuple[StageRecords, str]]:
    paths = {preview_path(name) for unit in gone for name in _clip_ids(unit)}
    return [(stage, key) for stage in stages for key, unit in stage.units.items() if not paths.isdisjoint(unit.outputs)]


def _files_of(stage: StageRecords, key: str) -> list[str]:
    """What a unit wrote, and its marker, which has a file of its own or not."""
    marker = stage.state.path(UNITS, f"{key}.json")
    return [stage.prefix + path for path in (*stage.units[key].outputs, marker)]
