"""The quality columns of a report: histograms with the line of a filter, and the clips that filters dropped."""

from __future__ import annotations

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
    return {
        name: {**spread(output.quality[name], limits.get(name)), "limit": limits.get(name)}
        for name in HISTOGRAMS
        if name in output.quality and len(output.quality)
    }


def spread(values: ArrayLike, limit: float | None = None) -> dict[str, list[float]]:
    """A histogram from 0 to where 99 of 100 values, and the limit, lie below; the last bin has those above it too.

    >>> bins = spread([0.01] * 200 + [0.9])
    >>> bins["edges"][-1], bins["counts"][-1]
    (0.02, 1)
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    highest = max(float(np.quantile(numbers, 0.99)) if len(numbers) else 0.0, limit or 0.0)
    top = next((top for top in TOPS if top >= highest), TOPS[-1])
    counts, edges = np.histogram(np.clip(numbers, 0, top), bins=BINS, range=(0, top))
    return {"edges": np.round(edges, 6).tolist(), "counts": counts.tolist()}


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
