"""The rows of a fit, which the workers hold: sums over them, for all centres or for the near ones of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain, starmap
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.quick_products import are_quick
from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.arrays.xp import array_module, row_blocks
from curator_dask.dedup.kmeans.grid import centres_on_grid
from curator_dask.dedup.kmeans.grouped import assign_in_groups, groups_of, near_in_groups
from curator_dask.dedup.kmeans.lloyd import Partial, SumUp, labelled_partial, lloyd_partial, merge
from curator_dask.dedup.kmeans.near import NEAR, find_near, nearest_of
from curator_dask.dedup.kmeans.screen import about_nearest, tells_apart
from curator_dask.runtime.device import to_device
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.kmeans.parameters import GROUPED_FROM
from curator_dask.stages.kmeans.placing.places import Place, find_places
from curator_dask.stages.kmeans.spec import FitRows, FitSpec

MERGE_FAN_IN = 8
MANY_CENTRES: Final = 256
"""From this many centres on, comparing rows with near ones pays. Measured: it takes as long as the product with about 200."""

LOOKED_AT: Final = 8
"""Groups that a row of the fit is compared with."""
BATCH_BYTES: Final = 1 << 25
"""Rows of several chunks that are compared or added up together: few of them are not worth a pass over all centres."""

T = TypeVar("T")
PerChunk = Sequence[NDArray[np.int32]]


class Level(NamedTuple):
    """Some of the rows of a fit: those whose hashes are below a limit."""

    share: float
    """Of all rows; 1 means all that the workers hold."""
    num_rows: int
    sq_norms: float
    """The `sum_of_sq_norms` of these rows."""


@dataclass(frozen=True)
class RowsOnWorkers:
    """The rows of a fit, which the workers hold."""

    client: Any
    say: Callable[[str], None]
    """Hears of it if there are no workers."""
    loaded: list[Any]
    """Futures of `FitRows`, one per chunk."""
    levels: tuple[Level, ...]
    """At least one. The last has all rows."""
    dimension: int

    @property
    def all_rows(self) -> Level:
        return self.levels[-1]

    @cached_property
    def places(self) -> list[Place]:
        """Who goes over which chunks in every iteration: one partial of each then travels, and no rows."""
        return find_places(self.client, self.loaded)

    def submit(self, function: Callable[..., Any], *states: Sequence[Any], **options: Any) -> list[Any]:
        """Futures of the function, one per place: of the list of its `FitRows`, and of its element of each of ``states``."""
        return [
            self.client.submit(
                function, [self.loaded[chunk] for chunk in place.chunks], *own, **place.options(), **options
            )
            for place, *own in zip(self.places, *states, strict=True)
        ]

    def sum_up(self, C: NDArray[np.float32], spec: FitSpec, level: Level) -> Partial:
        """The partial of the rows of a level, each assigned to its nearest centre in C (k, D)."""
        parts = self.submit(_partial, C=hold(self.client, C), share=level.share, way=_choose_way(spec, len(C)))
        return merge_tree(self.client, parts, self.say)

    def among_near(self, spec: FitSpec, num_centres: int, *, roughly: bool) -> Callable[[Level], SumUp]:
        """Functions of the centres as `sum_up`, for levels that grow: each compares rows with the centres near them.

        Those of a row are the near ones when its first level began, or a later one if it has changed its centre since. Where
        numbers of one byte cannot find the near ones (not `roughly`, see `compares_roughly`), all centres are compared.
        """
        if not (compares_groups(spec, num_centres) or roughly):
            return lambda level: lambda C: self.sum_up(C, spec, level)
        near = _AmongNear(self, spec)
        return lambda level: lambda C: near.sum_up(C, level)


class FirstLevel:
    """The rows of the first level, copied to one matrix at each place, as all iterations on it go over them.

    They are copied while the client chooses the start.
    """

    def __init__(self, rows: RowsOnWorkers, spec: FitSpec) -> None:
        self._rows, self._spec = rows, spec
        self._matrices = rows.submit(_gather_rows, share=rows.levels[0].share)
        self._counts: NDArray[np.int64] | None = None

    def tells_roughly(self, C: NDArray[np.float32]) -> bool:
        """Whether numbers of one byte are good enough for these centres (k, D), by the rows that they had in the last iteration.

        Before the first one, only those of k-means|| are judged: it takes few from places that do not matter.
        """
        init = self._spec.parameters.init
        is_judged = self._counts is not None or (isinstance(init, str) and init != "random")
        return is_judged and compares_roughly(self._spec, C, self._counts)

    def sum_up(self, C: NDArray[np.float32]) -> Partial:
        """The partial of these rows, each assigned to its nearest centre in C (k, D), or to about the nearest one."""
        rows = self._rows
        options = {"C": hold(rows.client, C), "way": _choose_way(self._spec, len(C), roughly=self.tells_roughly(C))}
        parts = [
            rows.client.submit(_partial_of_matrix, matrix, **place.options(), **options)
            for place, matrix in zip(rows.places, self._matrices, strict=True)
        ]
        partial = merge_tree(rows.client, parts, rows.say)
        self._counts = partial.counts
        return partial

    def let_go(self) -> None:
        """Free their memory: what is made next then takes no fresh one."""
        self._matrices.clear()


class _AmongNear:
    """What the workers know of the rows of the levels, and the sum of these: only rows that are new or change their centre
    change it."""

    def __init__(self, rows: RowsOnWorkers, spec: FitSpec) -> None:
        self._rows, self._spec = rows, spec
        self._share = 0.0
        self._near: list[Any] = [()] * len(rows.places)
        self._labels: list[Any] = [()] * len(rows.places)
        self._total: Partial | None = None

    def sum_up(self, C: NDArray[np.float32], level: Level) -> Partial:
        rows, held = self._rows, hold(self._rows.client, C)
        if level.share > self._share:
            options = {"share": level.share, "way": _choose_way(self._spec, len(C))}
            self._near = rows.submit(_find_more_near, self._near, self._labels, C=held, **options)
        labels = rows.submit(_nearest_of, self._near, C=held, known=self._share)
        change = merge_tree(rows.client, rows.submit(_change, self._labels, labels, k=len(C)), rows.say)
        self._share, self._labels = level.share, labels
        self._total = change if self._total is None else merge(self._total, change)
        return self._total


def compares_groups(spec: FitSpec, num_centres: int) -> bool:
    """Whether rows are compared with the centres of their nearest groups only. On GPUs a product with all is quick enough."""
    return num_centres >= GROUPED_FROM and spec.device == "cpu" and not spec.parameters.exact_assignment


def compares_roughly(spec: FitSpec, C: NDArray[np.float32], counts: NDArray[np.int64] | None) -> bool:
    """Whether numbers of one byte are good enough for a fit in levels to say which of these centres (k, D) is about the
    nearest one of a row, and which ones are near, by the rows (k,) that the centres have (`tells_apart`). Few centres are
    compared in full, as that takes no longer."""
    is_worth_it = spec.device == "cpu" and len(C) >= MANY_CENTRES and not compares_groups(spec, len(C))
    return is_worth_it and tells_apart(C, counts)


class _Way(NamedTuple):
    """How workers compare rows with centres."""

    device: str
    max_rows: int
    in_groups: bool
    roughly: bool
    """By numbers of one byte alone."""


def _choose_way(spec: FitSpec, num_centres: int, *, roughly: bool = False) -> _Way:
    max_rows = spec.parameters.max_samples_per_batch
    return _Way(spec.device, max_rows, compares_groups(spec, num_centres), roughly)


def merge_tree(client: Any, level: list[Any], say: Callable[[str], None]) -> Partial:
    """The sum of the partials of these futures, a few at a time on each worker."""
    while len(level) > 1:
        groups = [level[at : at + MERGE_FAN_IN] for at in range(0, len(level), MERGE_FAN_IN)]
        level = [client.submit(_merge_all, group, pure=False) for group in groups]
    total: Partial = gather(client, level, say)[0]
    return total


def _merge_all(partials: Iterable[Partial]) -> Partial:
    return reduce(merge, partials)


def _partial(rows: Sequence[FitRows], *, C: NDArray[np.float32], share: float, way: _Way) -> Partial:
    """Rows of several chunks are compared together, where they are few: what is made of the centres is made once for them."""

    def of_batch(batch: Sequence[NDArray[np.float32]]) -> Partial:
        return _partial_of_matrix(batch[0] if len(batch) == 1 else np.concatenate(batch), C=C, way=way)

    matrices = (
        chunk.some(part)[:] for chunk in rows for part in row_blocks(chunk.num_below(share), _batch_rows(C.shape[1]))
    )
    return _merge_all(map(of_batch, _batches(matrices, lambda X: int(X.nbytes))))


def _batch_rows(dimension: int) -> int:
    return max(1, BATCH_BYTES // (4 * dimension))


def _gather_rows(rows: Sequence[FitRows], *, share: float) -> NDArray[np.float32]:
    are_quick()  # loads what multiplies numbers of one byte, while the worker has nothing else to do
    return np.concatenate([chunk.some(slice(chunk.num_below(share)))[:] for chunk in rows])


def _partial_of_matrix(matrix: NDArray[np.float32], *, C: NDArray[np.float32], way: _Way) -> Partial:
    X = to_device(matrix, way.device)
    if way.in_groups:
        return labelled_partial(X, assign_in_groups(X, groups_of(C), LOOKED_AT, max_rows=way.max_rows), len(C))
    if way.roughly:
        return labelled_partial(X, about_nearest(X, C), len(C))
    return lloyd_partial(X, array_module(X).asarray(C), max_rows=way.max_rows)


def _find_more_near(
    rows: Sequence[FitRows], near: PerChunk, labels: PerChunk, *, C: NDArray[np.float32], share: float, way: _Way
) -> PerChunk:
    """Near centres of the rows of a level: of those that it is the first to have, and anew of those that have changed theirs.

    Nearly all others would find the same centres again.
    """

    def find(some: Some) -> NDArray[np.int32]:
        return near_in_groups(some[:], groups_of(C), LOOKED_AT, NEAR) if way.in_groups else find_near(some, C)

    def of_chunk(chunk: FitRows, known: NDArray[np.int32], own: NDArray[np.int32]) -> NDArray[np.int32]:
        new = np.concatenate([np.flatnonzero(own != known[:, 0]), np.arange(len(own), chunk.num_below(share))])
        found = find(chunk.some(new))
        all_near = np.concatenate([known, np.empty((chunk.num_below(share) - len(own), found.shape[1]), np.int32)])
        all_near[new] = found
        return all_near

    if not near:
        return [find(chunk.some(slice(chunk.num_below(share)))) for chunk in rows]
    return list(map(of_chunk, rows, near, labels))


def _nearest_of(rows: Sequence[FitRows], near: PerChunk, *, C: NDArray[np.float32], known: float) -> PerChunk:
    """The nearest of the near centres. For rows beyond the share `known` before, it is the first: they are as new as C."""
    centres = centres_on_grid(C)

    def of_chunk(chunk: FitRows, own: NDArray[np.int32]) -> NDArray[np.int32]:
        old = chunk.num_below(known)
        return np.concatenate([nearest_of(chunk.some(slice(old)), centres, own[:old]), own[old:, 0]])

    return list(starmap(of_chunk, zip(rows, near, strict=True)))


def _change(rows: Sequence[FitRows], before: PerChunk, after: PerChunk, *, k: int) -> Partial:
    """What rows with a new label add to the sums; exact, so the total has the same bits as if it were made anew.

    Few rows of a chunk move, and fewer to the same centre, so those of several chunks are added up together.
    """
    known = before or [own[:0] for own in after]
    new = (_partial_of_new(*chunk, k) for chunk in zip(rows, known, after, strict=True))
    moves = map(_moves, rows, known, after)
    moved = (_change_of(batch, k) for batch in _batches(moves, lambda moved: int(moved.X.nbytes)))
    return _merge_all(chain(new, moved))


def _partial_of_new(rows: FitRows, before: NDArray[np.int32], after: NDArray[np.int32], k: int) -> Partial:
    return labelled_partial(rows.some(slice(len(before), len(after))), after[len(before) :], k)


class _Moves(NamedTuple):
    """Rows that lose their label for another."""

    X: NDArray[np.float32]
    """(n, D)"""
    lost: NDArray[np.int32]
    """(n,)"""
    gained: NDArray[np.int32]
    """(n,)"""


def _moves(rows: FitRows, before: NDArray[np.int32], after: NDArray[np.int32]) -> _Moves:
    moved = np.flatnonzero(before != after[: len(before)])
    return _Moves(rows.some(moved)[:], before[moved], after[moved])


def _batches(parts: Iterable[T], num_bytes: Callable[[T], int]) -> Iterator[list[T]]:
    """A batch ends as soon as its parts have `BATCH_BYTES`."""
    batch: list[T] = []
    for part in parts:
        batch.append(part)
        if sum(map(num_bytes, batch)) >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _change_of(batch: Sequence[_Moves], k: int) -> Partial:
    X, lost, gained = map(np.concatenate, zip(*batch, strict=True))
    more, less = labelled_partial(X, gained, k), labelled_partial(X, lost, k)
    return Partial(more.sums - less.sums, more.counts - less.counts)
