"""The quality columns of a report: histograms with the line of a filter, and the clips that filters dropped."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from curator_dask.report.run_output import RunOutput

HISTOGRAMS: Final = ("motion_mean", "frozen_share", "black_share", "luminance", "sharpness")
BINS: Final = 50
TOPS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Where a histogram may end: most clips move by a few hundredths."""
MOST_DROPPED_IDS: Final = 20


def quality_histograms(output: RunOutput) -> dict[str, dict[str, Any]]:
    """Per column, a histogram of all clips that have it, dropped ones too, with the limit of a filter, if there is one."""
    limits = {line["column"]: line["limit"] for line in dropped_lines(output)} | _chosen_limits(output)
    spreads: dict[str, Spread] = {}
    for rows in output.quality():
        for name in HISTOGRAMS:
            if name in rows and len(rows):
                spreads.setdefault(name, Spread()).add(rows[name])
    return {
        name: {**spreads[name].histogram(limits.get(name)), "limit": limits.get(name)}
        for name in HISTOGRAMS
        if name in spreads
    }


class Spread:
    """Histograms of numbers that come in parts: for each of `TOPS` one from 0 to it, of which the right one is chosen later."""

    def __init__(self) -> None:
        self._number = 0
        self._counts = [np.zeros(BINS, np.int64) for _ in TOPS]
        self._below = [0 for _ in TOPS]
        """How many numbers are at most as large as each top; and the numbers next to it on both sides."""
        self._last, self._next = [-math.inf for _ in TOPS], [math.inf for _ in TOPS]

    def add(self, values: ArrayLike) -> None:
        """Add numbers; those that are not finite count for nothing."""
        numbers = np.asarray(values, np.float64)
        numbers = numbers[np.isfinite(numbers)]
        self._number += len(numbers)
        for at, top in enumerate(TOPS):
            is_below = numbers <= top
            self._counts[at] += np.histogram(np.clip(numbers, 0, top), bins=BINS, range=(0, top))[0]
            self._below[at] += int(is_below.sum())
            self._last[at] = max(self._last[at], float(numbers[is_below].max(initial=-math.inf)))
            self._next[at] = min(self._next[at], float(numbers[~is_below].min(initial=math.inf)))

    def histogram(self, limit: float | None = None) -> dict[str, list[float]]:
        """A histogram from 0 to where 99 of 100 values, and the limit, lie below; the last bin has those above it too."""
        places = range(len(TOPS))
        at = next((at for at in places if TOPS[at] >= (limit or 0.0) and self._holds_most(at)), len(TOPS) - 1)
        _, edges = np.histogram([], bins=BINS, range=(0, TOPS[at]))
        return {"edges": np.round(edges, 6).tolist(), "counts": self._counts[at].tolist()}

    def _holds_most(self, at: int) -> bool:
        """Whether the quantile .99 of all numbers is at most this top. It lies between two neighbours in their order."""
        place = 0.99 * (self._number - 1)
        lower, share = int(place), place - int(place)
        if self._below[at] != lower + 1:
            return self._below[at] > lower or not self._number
        between = np.quantile([self._last[at], self._next[at]], share) if share else self._last[at]
        return bool(between <= TOPS[at])


def spread(values: ArrayLike, limit: float | None = None) -> dict[str, list[float]]:
    """The histogram of numbers that are all there, see `Spread`.

    >>> bins = spread([0.01] * 200 + [0.9])
    >>> bins["edges"][-1], bins["counts"][-1]
    (0.02, 1)
    """
    whole = Spread()
    whole.add(values)
    return whole.histogram(limit)


def dropped_lines(output: RunOutput) -> list[dict[str, Any]]:
    """The dropped clips by reason, with the limit and some ids."""
    dropped = output.dropped.sort_values(["source", "id"])
    return [
        {
            "reason": str(reason),
            "column": str(part["column"].iloc[0]),
            "limit": float(part["limit"].iloc[0]),
            "number": len(part),
            "sources": int(part["source"].nunique()),
            "ids": part["id"].head(MOST_DROPPED_IDS).tolist(),
        }
        for reason, part in dropped.groupby("reason", sort=True)
    ]


def _chosen_limits(output: RunOutput) -> dict[str, float]:
    """The limits that are on record, also where they dropped nothing."""
    names = {"motion_mean": "min_motion", "frozen_share": "max_static_share"}
    found = {column: output.parameter(name) for column, name in names.items()}
    return {column: float(value) for column, value in found.items() if value is not None}
