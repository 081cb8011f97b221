"""Sources that lose most of their clips to clips of the same source, counted in buckets of sources, on workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.places import places
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.own_source import EmptiedSources, Sources
from curator_dask.stages.identify.decisions.table_rows import Indices

if TYPE_CHECKING:
    import pyarrow as pa


def source_counts(sources: Sources, line: Indices, lost: Indices) -> pa.Table:
    """``source``, ``rows``, ``lost``, and ``line``, the first one in the clip index, of the sources of some rows.

    Args:
        line: (n,) where each row is in the clip index.
        lost: the rows that a kept row of the same source removes.
    """
    import pyarrow as pa

    known = np.flatnonzero(sources.code >= 0)
    first = np.full(len(sources.names), np.iinfo(np.int64).max)
    np.minimum.at(first, sources.code[known], line[known])
    num_rows, num_lost = (
        np.bincount(sources.code[rows], minlength=len(sources.names)).astype(np.int64) for rows in (known, lost)
    )
    names = pa.array(sources.names, pa.large_string())
    return pa.table({"source": names, "rows": num_rows, "lost": num_lost, "line": first})


def write_counts(folder: Folder, path: str, counts: pa.Table, num_buckets: int) -> None:
    """Write such counts, in buckets by the names of the sources."""
    names = counts["source"]
    number = bucket_of(places(names, 0), num_buckets) if num_buckets > 1 else np.zeros(len(names), np.int64)
    write_shared(folder, path, counts, number, num_buckets)


@dataclass(frozen=True)
class CountTask:
    """Add the counts of the sources of one bucket up."""

    folder: Folder
    paths: tuple[str, ...]
    number: int


def emptied_sources(task: CountTask) -> pa.Table | None:
    """The source of a bucket that loses most, among those that lose over half of their rows, and ``number``, how many there are.

    None if there is none.
    """
    counts = read_shared(task.folder, task.paths, task.number)
    if counts is None:
        return None
    sums = [("rows", "sum"), ("lost", "sum"), ("line", "min")]
    added = counts.group_by("source", use_threads=False).aggregate(sums)
    added = added.rename_columns({"rows_sum": "rows", "lost_sum": "lost", "line_min": "line"} | {"source": "source"})
    emptied = added.filter(_emptied(added))
    return _worst(emptied).append_column("number", [[len(emptied)]]) if len(emptied) else None


def _emptied(counts: pa.Table) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = 2 * counts["lost"].to_numpy() > counts["rows"].to_numpy()
    return found


def _worst(counts: pa.Table) -> pa.Table:
    return counts.sort_by([("lost", "descending"), ("line", "ascending")]).slice(0, 1)


def worst_of_all(found: Sequence[pa.Table | None]) -> EmptiedSources | None:
    """What all buckets tell together; None where no source is emptied."""
    import pyarrow as pa

    tables = [one for one in found if one is not None]
    if not tables:
        return None
    every = pa.concat_tables(tables)
    [worst] = _worst(every).to_pylist()
    return EmptiedSources(sum(every["number"].to_pylist()), worst["source"], worst["lost"], worst["rows"])
