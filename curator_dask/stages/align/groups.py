"""Which source videos have tracks, and which of them one task holds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING

from curator_dask.data.beside_vectors.track_index import TrackIndex
from curator_dask.data.tables import unreadable
from curator_dask.dedup.align.line import WINDOW_S
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import recorded_versions
from curator_dask.stages.align.spec import LineGroup

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_WINDOWS = 20_000
"""Windows of a group, about three hours of video: a few seconds of work for two groups, some hundred megabytes."""
CLIP_COLUMNS = ("id", "source", "start_s", "end_s", "reference", "reference_number")


def find_reference(folder: Folder, new: Folder) -> Folder:
    """The folder of vectors of a reference, which is given or lies in the given output of a run.

    Of several, the one with the name of the `new` folder of vectors. Raises InputError if there is none, or if it is not
    clear which one.
    """
    for one in (folder, folder.below(new.root.rsplit("/", 1)[-1])):
        if one.entries(layout.TRACKS):
            return one
    found = sorted({entry.path.split("/")[0] for entry in folder.entries(max_depth=3) if _is_track(entry.path)})
    if len(found) != 1:
        several = f"tracks in {', '.join(found)}: give one of these folders" if found else "no tracks"
        raise InputError(
            f"{folder.url} holds {several}. A reference is the output of a finished run, made with --tracks"
        )
    return folder.below(found[0])


def _is_track(path: str) -> bool:
    return path.endswith(".parquet") and path.split("/")[1:2] == [layout.TRACKS]


def require_same_tracks(new: Folder, reference: Folder) -> None:
    """Raise InputError if the tracks of two folders of vectors are of different versions."""
    versions = [_track_version(folder) for folder in (new, reference)]
    if versions[0] != versions[1]:
        raise InputError(
            f"tracks of version {versions[0]} in {new.url} cannot be compared with those of version {versions[1]} in the "
            f"reference {reference.url}: run embed again into the older folder, which makes its tracks anew"
        )


def _track_version(folder: Folder) -> int | None:
    """The version that the embed stage recorded; None where it recorded none."""
    if not folder.exists(layout.FINGERPRINT):
        return None
    try:
        version: int | None = json.loads(folder.read_bytes(layout.FINGERPRINT)).get("track_version")
    except (ValueError, AttributeError) as error:
        raise unreadable(folder, layout.FINGERPRINT, f"it is no fingerprint ({error})") from error
    return version


def clip_schema() -> pa.Schema:
    """``id``, ``source``, ``start_s`` and ``end_s`` in the source, ``reference`` and ``reference_number``."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    kinds = [text, text, number, number, pa.bool_(), pa.int32()]
    return pa.schema(list(zip(CLIP_COLUMNS, kinds, strict=True)))


def clip_tables(index: TrackIndex, *, reference: int = 0) -> Iterator[pa.Table]:
    """One row per clip, of `clip_schema`, some clips at a time."""
    return (_clip_table(rows, reference) for rows in index.rows.tables())


def _clip_table(rows: pa.Table, reference: int) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    end_s = pc.add(rows["start_s"], pc.multiply(pc.cast(rows["num_windows"], "float64"), WINDOW_S))
    table = rows.select(["id", "source", "start_s"]).append_column("end_s", end_s)
    table = table.append_column("reference", pa.repeat(reference > 0, len(table)))
    return table.append_column("reference_number", pa.repeat(pa.scalar(reference, pa.int32()), len(table)))


def group_sources(index: TrackIndex, *, first_number: int = 0, reference: int = 0) -> list[LineGroup]:
    """Groups of neighbouring sources in the order of their names. A long source is a group of its own."""
    versions = recorded_versions(index.folder)
    groups: list[LineGroup] = []
    for sources, paths in _packed(index):
        version = digest([(path, versions.get(path, "")) for path in paths])
        number = first_number + len(groups)
        groups.append(LineGroup(index.folder, number, tuple(sources), tuple(paths), version, reference))
    return groups


def mirror_groups(groups: Sequence[LineGroup]) -> list[LineGroup]:
    """The same groups again, with their lines mirrored."""
    return [replace(group, number=group.number + len(groups), mirror_of=group.number) for group in groups]


def _packed(index: TrackIndex) -> Iterator[tuple[list[str], list[str]]]:
    sources: list[str] = []
    paths: set[str] = set()
    windows = 0
    for source, num_windows, own_paths in _sizes(index):
        if sources and windows + num_windows > GROUP_WINDOWS:
            yield sources, sorted(paths)
            sources, paths, windows = [], set(), 0
        sources.append(source)
        paths |= own_paths
        windows += num_windows
    if sources:
        yield sources, sorted(paths)


def _sizes(index: TrackIndex) -> Iterator[tuple[str, int, set[str]]]:
    """Name, windows and files of each source, in the order of the index."""
    names = ("source", "num_windows", "path")
    rows = (
        row for table in index.rows.tables() for row in zip(*(table[name].to_pylist() for name in names), strict=True)
    )
    for source, clips in itertools.groupby(rows, itemgetter(0)):
        of_source = list(clips)
        yield source, sum(windows for _, windows, _ in of_source), {path for _, _, path in of_source}
