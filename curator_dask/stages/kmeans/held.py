"""The rows of a fit, which the workers hold: sums over them, for all centres or for the near ones of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import starmap
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import array_module
from curator_dask.dedup.kmeans.lloyd import Partial, labelled_partial, lloyd_partial, merge
from curator_dask.dedup.kmeans.near import find_near, nearest_of
from curator_dask.runtime.device import to_device
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.kmeans.placing.places import Place, find_places
from curator_dask.stages.kmeans.spec import FitRows, FitSpec

MERGE_FAN_IN = 8
MANY_CENTRES: Final = 256
"""From this many centres on, comparing rows with near ones pays. Measured: it takes as long as the product with about 200."""

PerChunk = list[NDArray[np.int32]]


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
        options = {"share": level.share, "max_rows": spec.parameters.max_samples_per_batch, "device": spec.device}
        parts = self.submit(_partial, C=hold(self.client, C), **options)
        return merge_tree(self.client, parts, self.say)

    def among_near(self, spec: FitSpec, level: Level) -> Callable[[NDArray[np.float32]], Partial]:
        """A function of the centres as `sum_up`; it compares each row with the centres that are near it in the first call.

        Few centres are all compared: that takes no longer.
        """
        near = _AmongNear(self, level)
        return lambda C: near.sum_up(C) if len(C) >= MANY_CENTRES else self.sum_up(C, spec, level)


class _AmongNear:
    """What the workers know of the rows of a level, and the sum of these: only rows that change their centre change it."""

    def __init__(self, rows: RowsOnWorkers, level: Level) -> None:
        self._rows, self._share = rows, level.share
        self._near: list[Any] = []
        self._labels: list[Any] = []
        self._total: Partial | None = None

    def sum_up(self, C: NDArray[np.float32]) -> Partial:
        rows, client = self._rows, self._rows.client
        held = hold(client, C)
        if self._total is None:
            self._near = rows.submit(_find_near, C=held, share=self._share)
            self._labels = client.map(_nearest, self._near, pure=False)
            parts = rows.submit(_partial_of, self._labels, k=len(C))
            self._total = merge_tree(client, parts, rows.say)
            return self._total
        labels = rows.submit(_nearest_of, self._near, C=held)
        parts = rows.submit(_change, self._labels, labels, k=len(C))
        self._total = merge(self._total, merge_tree(client, parts, rows.say))
        self._labels = labels
        return self._total


def merge_tree(client: Any, level: list[Any], say: Callable[[str], None]) -> Partial:
    """The sum of the partials of these futures, a few at a time on each worker."""
    while len(level) > 1:
        groups = [level[at : at + MERGE_FAN_IN] for at in range(0, len(level), MERGE_FAN_IN)]
        level = [client.submit(_merge_all, group, pure=False) for group in groups]
    total: Partial = gather(client, level, say)[0]
    return total


def _merge_all(partials: Iterable[Partial]) -> Partial:
    return reduce(merge, partials)


def _partial(rows: Sequence[FitRows], *, C: NDArray[np.float32], share: float, max_rows: int, device: str) -> Partial:
    def of_chunk(chunk: FitRows) -> Partial:
        X = to_device(chunk.X[: chunk.num_below(share)], device)
        return lloyd_partial(X, array_module(X).asarray(C), max_rows=max_rows)

    return _merge_all(map(of_chunk, rows))


def _find_near(rows: Sequence[FitRows], *, C: NDArray[np.float32], share: float) -> PerChunk:
    return [find_near(chunk.X[: chunk.num_below(share)], C) for chunk in rows]


def _nearest(near: PerChunk) -> PerChunk:
    """With the centres that the near ones were found for: the first of them is the nearest."""
    return [of_chunk[:, 0].copy() for of_chunk in near]


def _nearest_of(rows: Sequence[FitRows], near: PerChunk, *, C: NDArray[np.float32]) -> PerChunk:
    return [nearest_of(chunk.X[: len(own)], C, own) for chunk, own in zip(rows, near, strict=True)]


def _partial_of(rows: Sequence[FitRows], labels: PerChunk, *, k: int) -> Partial:
    parts = (labelled_partial(chunk.X[: len(own)], own, k) for chunk, own in zip(rows, labels, strict=True))
    return _merge_all(parts)


def _change(rows: Sequence[FitRows], before: PerChunk, after: PerChunk, *, k: int) -> Partial:
    """What the rows with a new label add to the sums; exact, so the total has the same bits as if it were made anew."""
    return _merge_all(starmap(partial(_change_of_chunk, k=k), zip(rows, before, after, strict=True)))


def _change_of_chunk(rows: FitRows, before: NDArray[np.int32], after: NDArray[np.int32], *, k: int) -> Partial:
    moved = np.flatnonzero(before != after)
    X = rows.X[moved]
    gained, lost = labelled_partial(X, after[moved], k), labelled_partial(X, before[moved], k)
    return Partial(gained.sums - lost.sums, gained.counts - lost.counts)
