"""The clips of an export in their order, a bucket at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.files.buckets.buckets import Buckets
from curator_dask.files.buckets.places import order_of

if TYPE_CHECKING:
    import pyarrow as pa

PLACE: Final = "place"
"""The column of the places, by which rows were given to buckets."""
BY_SOURCE: Final = ("source_video", "start_s", "id")
SAMPLES: Final = 64
"""Rows of each bucket that say where other buckets should begin. Buckets by place are samples by chance already."""


Tables = Callable[[], Iterable["pa.Table"]]
"""Gives the tables of all buckets, one per bucket, as often as it is called."""


def shuffled(tables: Tables, seed: int) -> Iterator[pa.Table]:
    """The rows of buckets by place in the order of whole digests."""
    import pyarrow as pa

    for table in tables():
        order = order_of(table["id"], table[PLACE].to_numpy(), seed)
        yield table.take(pa.array(order))


def in_ranges(tables: Tables, num_buckets: int, names: Sequence[str], folder: Path) -> Tables:
    """The rows sorted by these columns. They go to other buckets for it, each a range, all about as large."""
    borders = _borders(tables, num_buckets, names) if num_buckets > 1 else []
    ranges: Buckets | None = None
    for table in tables():
        ranges = ranges or Buckets(folder, num_buckets, table.schema)
        numbers = [bisect_right(borders, row) for row in _tuples(table, names)] if borders else [0] * len(table)
        ranges.add(table, np.array(numbers, np.int64))
    by = [(name, "ascending") for name in names]
    return lambda: (table.sort_by(by) for table in (ranges.tables() if ranges is not None else ()))


def _borders(tables: Tables, num_buckets: int, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The first values of each range but the first."""
    samples = sorted(row for table in tables() for row in _tuples(table.slice(0, SAMPLES), names))
    return [samples[part * len(samples) // num_buckets] for part in range(1, num_buckets)] if samples else []


def _tuples(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
