"""Which source videos have tracks, and which of them one task holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from curator_dask.data.tables import read_parquet
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


def read_track_index(folder: Folder) -> pa.Table:
    """One row per clip that has a track: ``id``, ``source``, ``start_s``, ``num_windows``, ``path`` (its file).

    Raises InputError if there are no tracks.
    """
    import pyarrow as pa

    paths = [entry.path for entry in folder.entries(layout.TRACKS) if entry.path.endswith(".parquet")]
    if not paths:
        raise InputError(f"{folder.url} holds no tracks: run the embed stage with --tracks into it first")
    tables = []
    for path in sorted(paths):
        table = read_parquet(folder, path, ["id", "source", "start_s", "num_windows"])
        tables.append(table.append_column("path", pa.repeat(path, len(table))))
    return pa.concat_tables(tables).sort_by([("source", "ascending"), ("start_s", "ascending"), ("id", "ascending")])


def clip_table(index: pa.Table) -> pa.Table:
    """One row per clip: ``id``, ``source``, and ``start_s`` and ``end_s`` in its source."""
    end_s = pc.add(index["start_s"], pc.multiply(pc.cast(index["num_windows"], "float64"), WINDOW_S))
    return index.select(["id", "source", "start_s"]).append_column("end_s", end_s)


def num_windows(index: pa.Table) -> int:
    """Windows of all clips."""
    return int(pc.sum(index["num_windows"]).as_py() or 0)


def group_sources(index: pa.Table, folder: Folder) -> list[LineGroup]:
    """Groups of neighbouring sources in the order of their names. A long source is a group of its own."""
    versions = recorded_versions(folder)
    groups: list[LineGroup] = []
    for sources, paths in _packed(index):
        version = digest([(path, versions.get(path, "")) for path in paths])
        groups.append(LineGroup(len(groups), tuple(sources), tuple(paths), version))
    return groups


def _packed(index: pa.Table) -> Iterator[tuple[list[str], list[str]]]:
    sources: list[str] = []
    paths: set[str] = set()
    windows = 0
    for source, size in _sizes(index).items():
        if sources and windows + size[0] > GROUP_WINDOWS:
            yield sources, sorted(paths)
            sources, paths, windows = [], set(), 0
        sources.append(source)
        paths |= size[1]
        windows += size[0]
    if sources:
        yield sources, sorted(paths)


def _sizes(index: pa.Table) -> Mapping[str, tuple[int, set[str]]]:
    """Windows and files of each source, in the order of the index."""
    sizes: dict[str, tuple[int, set[str]]] = {}
    columns = (index[name].to_pylist() for name in ("source", "num_windows", "path"))
    for source, num_windows, path in zip(*columns, strict=True):
        windows, paths = sizes.get(source, (0, set()))
        sizes[source] = (windows + num_windows, paths | {path})
    return sizes
