"""Write the clip index: in parts of whole videos, which workers make from the markers, and as one file where it is small.

The client knows the key, the path and the number of rows of each video, and one part of the rows. The first part vouches
for all: it is removed before anything changes, and written last.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import QUALITY_COLUMNS, ROWS_PER_PART, extent, schema
from curator_dask.data.tables import parquet_bytes, parquet_bytes_of_batches, row_group_tables
from curator_dask.files import layout
from curator_dask.files.content_hash import Written, hash_of
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Run
from curator_dask.runtime.waiting import gather
from curator_dask.stages.base import RunContext
from curator_dask.stages.split.index_part import IndexPart, count_rows, holds, part_table, write_part

if TYPE_CHECKING:
    import pyarrow as pa

UNITS_PER_TASK = 2_000
"""Units whose rows are counted in one task."""
TASKS_ALONE = 5
"""So many of these tasks the client does itself."""
PARTS_ALONE = 3
"""So many parts beside the first the client makes itself."""
T = TypeVar("T")
R = TypeVar("R")
_PART = re.compile(rf"{layout.CLIP_INDEX_PARTS}/part-\d{{6,}}\.parquet")


def write_clip_index(context: RunContext, state: StageState, keys: Collection[str]) -> tuple[str, ...]:
    """Write the index from the markers of the units with these keys, by video and span; returns the paths of its parts.

    A file that holds the same bytes already is not written again. Clips of videos that are no longer in the input keep
    their files, but they have no row in the index. A small index needs no workers.
    """
    parts = _plan_parts(state, _count(context, state, sorted(keys)))
    paths = tuple(part.path for part in parts)
    _remove_others(state, paths)
    state.note(
        dict.fromkeys(set(paths) - state.published().keys(), -1)
    )  # one that is noted and not written does no harm
    rest = _map(context, write_part, parts[1:], PARTS_ALONE)
    first = part_table(parts[0])
    data = parquet_bytes(first)
    if not holds(state.folder, paths[0], data):
        state.folder.remove(paths[0])
    _write_one_file(state, parts, first)
    if not state.folder.exists(paths[0]):
        state.folder.write_bytes(paths[0], data)
    state.note(dict(zip(paths, [Written(len(data), hash_of(data)), *rest], strict=True)))
    return paths


def _count(context: RunContext, state: StageState, keys: Sequence[str]) -> pa.Table:
    """`count_rows` of all units, by video."""
    import pyarrow as pa

    count = functools.partial(count_rows, state=state, run=Run.of(state))
    chunks = [keys[at : at + UNITS_PER_TASK] for at in range(0, len(keys), UNITS_PER_TASK)] or [keys]
    tables = _map(context, count, chunks, TASKS_ALONE)
    return pa.concat_tables(tables).sort_by([("relative_path", "ascending"), ("key", "ascending")])


def _map(context: RunContext, work: Callable[[T], R], tasks: Sequence[T], num_alone: int) -> list[R]:
    """The results of tasks, in order. So few as `num_alone` are done here: starting workers would take longer."""
    if len(tasks) <= num_alone:
        return [work(task) for task in tasks]
    client = context.cluster.client
    return gather(client, client.map(work, tasks, pure=False), context.reporter.note)


def _plan_parts(state: StageState, units: pa.Table) -> list[IndexPart]:
    """The parts of the index of these units, which are sorted by video; one part without rows where there are none."""
    import pyarrow.compute as pc

    num_rows = units["num_rows"].to_numpy()
    is_old = len(units) and not pc.any(units["has_quality"]).as_py()
    # Where all videos were cut by an earlier version, the index stays as it is.
    columns = [name for name in schema().names if not (is_old and name in QUALITY_COLUMNS)]
    spans, run = list(_cut(units["relative_path"], num_rows)), Run.of(state)
    whole = extent(len(spans), int(num_rows.sum()))
    return [
        IndexPart(
            state, run, number, units["key"][start:stop].to_pylist(), int(num_rows[start:stop].sum()), columns,
            whole if number == 0 else {},
        )
        for number, (start, stop) in enumerate(spans)
    ]  # fmt: skip


def _cut(videos: pa.ChunkedArray, num_rows: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """The first unit of each part and the first behind it: whole videos, until there are 65,536 rows or more."""
    import pyarrow.compute as pc

    last = np.flatnonzero(pc.not_equal(videos[1:], videos[:-1]).to_numpy()) if len(videos) else np.array([], int)
    stops, rows = np.append(last + 1, len(videos)), np.cumsum(num_rows)
    start = 0
    while start < len(videos):
        before = rows[start - 1] if start else 0
        enough = int(np.searchsorted(rows[stops - 1], before + ROWS_PER_PART))
        stop = int(stops[min(enough, len(stops) - 1)])
        yield start, stop
        start = stop
    if not len(videos):
        yield 0, 0


def _remove_others(state: StageState, paths: Sequence[str]) -> None:
    """Remove the parts that an earlier run wrote and that this index does not have."""
    found = [entry.path for entry in state.folder.entries(layout.CLIP_INDEX_PARTS, max_depth=1)]
    others = [path for path in found if _PART.fullmatch(path) and path not in paths]
    for path in [layout.clip_index_part(0), *others] if others else []:
        state.folder.remove(path)
    noted = [path for path in state.published() if _PART.fullmatch(path) and path not in paths]
    for path in noted:
        state.unpublish(path)


def _write_one_file(state: StageState, parts: Sequence[IndexPart], first: pa.Table) -> None:
    """Write ``clips.parquet`` from the parts, of which the first is not on the disk yet; a large index has none."""
    if sum(part.num_rows for part in parts) > layout.SINGLE_FILE_ROWS:
        if layout.CLIP_INDEX in state.published():
            state.unpublish(layout.CLIP_INDEX)
        return
    rest = (table for part in parts[1:] for table in row_group_tables(state.folder, part.path))
    kind = first.schema.remove_metadata()
    batches = (table.replace_schema_metadata(None) for table in itertools.chain([first], rest))
    state.publish(layout.CLIP_INDEX, parquet_bytes_of_batches(kind, batches))
