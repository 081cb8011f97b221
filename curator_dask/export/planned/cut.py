"""Cut the clips of each split into shards, as tables come in. A shard is known by its digest, size and number of clips."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.errors import InputError
from curator_dask.export.plan import PlanParameters, check_extras
from curator_dask.export.planned.closing import Closing, even_parts
from curator_dask.export.planned.columns import EXTRA_BYTES, TOLD
from curator_dask.export.planned.families import SplitOf
from curator_dask.export.planned.json_texts import inputs_and_sizes, json_texts
from curator_dask.export.ustar import BLOCK_BYTES, archive_bytes

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 8192
"""Rows whose JSON is in memory at a time."""


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """One shard to write: ``{split}/{name}``, ``num_bytes`` long as a file."""

    split: str
    name: str
    num_samples: int
    num_bytes: int
    inputs: str
    """The digest of the records of its clips, and of what else it depends on."""

    @property
    def path(self) -> str:
        """Relative to the root of the export."""
        return f"{self.split}/{self.name}"


Tables = Callable[[], Iterable["pa.Table"]]
"""Gives all clips in the order of the export, as tables of records, as often as it is called."""


def plan_tables(tables: Tables, split_of: SplitOf, parameters: PlanParameters) -> list[PlannedShard]:
    """The shards of an export: splits in the order they were given, names from 000000 on in each.

    Raises InputError if there are no clips.
    """
    splits = [_Split(name, parameters) for name in parameters.splits]
    _fill(splits, tables(), split_of)
    if not any(one.shards for one in splits):
        raise InputError("there are no clips to export: nothing was kept, or nothing was split and identified before")
    if any(0 < len(one.shards) < parameters.min_shards for one in splits):
        # Only then it is known that a split needs more cuts, and where. It is a small one, unless another is large.
        splits = [one.with_even_parts() for one in splits]
        _fill(splits, tables(), split_of)
    return [shard for one in splits for shard in one.shards]


def _fill(splits: Sequence[_Split], tables: Iterable[pa.Table], split_of: SplitOf) -> None:
    for table in tables:
        for start in range(0, len(table), ROWS_AT_ONCE):
            _add_rows(splits, table.slice(start, ROWS_AT_ONCE), split_of)
    for one in splits:
        one.close()


def _add_rows(splits: Sequence[_Split], rows: pa.Table, split_of: SplitOf) -> None:
    """Give some rows to the shards of their splits."""
    inputs, json_sizes = inputs_and_sizes(rows)
    sizes, numbers = sample_sizes(rows, json_sizes), split_of.of(rows["source_video"])
    texts = _as_bytes(inputs)
    told = _as_bytes(json_texts(rows[TOLD])) if TOLD in rows.column_names else None
    for number, one in enumerate(splits):
        if len(splits) == 1:
            one.add(sizes.tolist(), texts, told)
        else:
            own = np.flatnonzero(numbers == number)
            at = own.tolist()
            one.add(sizes[own].tolist(), [texts[n] for n in at], None if told is None else [told[n] for n in at])


def _as_bytes(texts: pa.ChunkedArray) -> list[bytes]:
    import pyarrow as pa

    found: list[bytes] = texts.cast(pa.large_binary()).to_pylist()
    return found


def sample_sizes(rows: pa.Table, json_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the bytes that each clip takes in a tar: all members with their headers and padding."""
    extras = [name for name in rows.column_names if name.startswith(EXTRA_BYTES)]
    check_extras(name.removeprefix(EXTRA_BYTES) for name in extras)
    bodies = np.stack([json_sizes, *(rows[name].to_numpy() for name in ("num_bytes", *extras))])
    total: NDArray[np.int64] = (BLOCK_BYTES + bodies + -bodies % BLOCK_BYTES).sum(axis=0)
    return total


class _Split:
    """The shards of one split, while its clips come in."""

    def __init__(self, name: str, parameters: PlanParameters, forced: Collection[int] = ()) -> None:
        self.name, self.parameters, self.shards = name, parameters, list[PlannedShard]()
        self._closing = Closing(parameters.shard_bytes, parameters.shard_clips, forced)
        self._start()

    def _start(self) -> None:
        self._sha256, self._told = hashlib.sha256(b"[["), list[bytes]()
        self._count = self._filled = 0

    def with_even_parts(self) -> _Split:
        """The same split before any clip, cut into as many even parts as shards are asked for if it has fewer shards."""
        num_clips, least = sum(shard.num_samples for shard in self.shards), self.parameters.min_shards
        forced = even_parts(num_clips, least) if len(self.shards) < least else frozenset[int]()
        return _Split(self.name, self.parameters, forced)

    def add(self, sizes: Sequence[int], texts: Sequence[bytes], told: Sequence[bytes] | None) -> None:
        """Add clips in their order: bytes of their samples, their records as JSON, and what else is told of them."""
        starts = self._closing.starts(sizes)
        for piece, (start, end) in enumerate(pairwise([0, *starts, len(sizes)])):
            if piece:
                self.close()
            if self._count and end > start:
                self._sha256.update(b", ")
            self._sha256.update(b", ".join(texts[start:end]))
            if told is not None:
                self._told.append(b", ".join(told[start:end]))
            self._filled, self._count = self._filled + sum(sizes[start:end]), self._count + end - start

    def close(self) -> None:
        """End the shard that is being filled, if there is one."""
        if not self._count:
            return
        told = b"], [" + b", ".join(one for one in self._told if one) if self._told else b""
        self._sha256.update(told + b"]]")
        name = f"{len(self.shards):0{self.parameters.name_digits}d}.tar"
        inputs = self._sha256.hexdigest()[:32]
        self.shards.append(PlannedShard(self.name, name, self._count, archive_bytes(self._filled), inputs))
        self._start()


def shard_rows(
    tables: Iterable[pa.Table], split_of: SplitOf, shards: Sequence[PlannedShard], splits: Sequence[str]
) -> Iterator[tuple[PlannedShard, pa.Table]]:
    """The rows of each shard of a plan, as soon as all of them have come."""
    waiting = {split: deque(shard for shard in shards if shard.split == split) for split in splits}
    rows: dict[str, list[pa.Table]] = {split: [] for split in splits}
    for table in tables:
        numbers = split_of.of(table["source_video"])
        for number, split in enumerate(splits):
            rows[split].append(_rows_at(table, numbers == number))
            yield from _whole_shards(waiting[split], rows[split])


def _rows_at(table: pa.Table, where: NDArray[np.bool_]) -> pa.Table:
    import pyarrow as pa

    return table if where.all() else table.filter(pa.array(where))


def _whole_shards(waiting: deque[PlannedShard], rows: list[pa.Table]) -> Iterator[tuple[PlannedShard, pa.Table]]:
    """Take shards off the front whose rows are all there; the others stay in `rows`."""
    import pyarrow as pa

    while waiting and sum(map(len, rows)) >= waiting[0].num_samples:
        together, shard = pa.concat_tables(rows), waiting.popleft()
        rows[:] = [together.slice(shard.num_samples)]
        yield shard, together.slice(0, shard.num_samples)
