"""The rows of a fit, which the workers hold: sums over them, for all centres or for the near ones of each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import array_module
from curator_dask.dedup.kmeans.lloyd import Partial, labelled_partial, lloyd_partial, merge
from curator_dask.dedup.kmeans.near import find_near, nearest_of
from curator_dask.runtime.device import to_device
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.kmeans.spec import FitRows, FitSpec

MERGE_FAN_IN = 8
MANY_CENTRES: Final = 256
"""From this many centres on, comparing rows with near ones pays. Measured: it takes as long as the product with about 200."""


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

    def sum_up(self, C: NDArray[np.float32], spec: FitSpec, level: Level) -> Partial:
        """The partial of the rows of a level, each assigned to its nearest centre in C (k, D)."""
        parts = self.client.map(
            _partial,
            self.loaded,
            C=hold(self.client, C),
            share=level.share,
            max_rows=spec.parameters.max_samples_per_batch,
            device=spec.device,
            pure=False,
        )
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
            self._near = client.map(_find_near, rows.loaded, C=held, share=self._share, pure=False)
            self._labels = client.map(_nearest, self._near, pure=False)
            parts = client.map(_partial_of, rows.loaded, self._labels, k=len(C), pure=False)
            self._total = merge_tree(client, parts, rows.say)
            return self._total
        labels = client.map(_nearest_of, rows.loaded, self._near, C=held, pure=False)
        parts = client.map(_change, rows.loaded, self._labels, labels, k=len(C), pure=False)
        self._total = merge(self._total, merge_tree(client, parts, rows.say))
        self._labels = labels
        return self._total


def merge_tree(client: Any, level: list[Any], say: Callable[[str], None]) -> Partial:
    """The sum of the partials of these futures, a few at a time on each worker."""
    while len(level) > 1:
        groups = [level[at : at + MERGE_FAN_IN] for at in range(0, len(level), MERGE_FAN_IN)]
        level = [client.submit(_merge_all, group, pure=False) for group in groups]
    partial: Partial = gather(client, level, say)[0]
    return partial


def _merge_all(partials: list[Partial]) -> Partial:
    total = partials[0]
    for partial in partials[1:]:
        total = merge(total, partial)
    return total


def _partial(rows: FitRows, *, C: NDArray[np.float32], share: float, max_rows: int, device: str) -> Partial:
    X = to_device(rows.X[: rows.num_below(share)], device)
    return lloyd_partial(X, array_module(X).asarray(C), max_rows=max_rows)


def _find_near(rows: FitRows, *, C: NDArray[np.float32], share: float) -> NDArray[np.int32]:
    return find_near(rows.X[: rows.num_below(share)], C)


def _nearest(near: NDArray[np.int32]) -> NDArray[np.int32]:
    """With the centres that the near ones were found for: the first of them is the nearest."""
    return near[:, 0].copy()


def _nearest_of(rows: FitRows, near: NDArray[np.int32], *, C: NDArray[np.float32]) -> NDArray[np.int32]:
    return nearest_of(rows.X[: len(near)], C, near)


def _partial_of(rows: FitRows, labels: NDArray[np.int32], *, k: int) -> Partial:
    return labelled_partial(rows.X[: len(labels)], labels, k)


def _change(rows: FitRows, before: NDArray[np.int32], after: NDArray[np.int32], *, k: int) -> Partial:
    """What the rows with a new label add to the sums; exact, so the total has the same bits as if it were made anew."""
    moved = np.flatnonzero(before != after)
    X = rows.X[moved]
    gained, lost = labelled_partial(X, after[moved], k), labelled_partial(X, before[moved], k)
    return Partial(gained.sums - lost.sums, gained.counts - lost.counts)
