"""The numbers of a report: histograms, what other values of eps would keep, sums per state of a clip."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curator_dask.dedup.similarity.threshold import count_duplicates
from curator_dask.report.run_output import DROPPED, KEPT, PLAIN, REMOVED, RunOutput

if TYPE_CHECKING:
    import pandas as pd

SWEEP: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1),
    *(0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
)
"""The values of eps that are tried."""
BINS: Final = 50
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
MOST_CLUSTERS: Final = 10


def shares(values: ArrayLike) -> dict[str, list[float]]:
    """A histogram of numbers from 0 to 1; what lies outside counts in the outermost bins.

    >>> sum(shares([0.1, 0.5, 0.5, -0.01, 1.0000001])["counts"])
    5
    """
    return shares_of([values])


def shares_of(parts: Iterable[ArrayLike]) -> dict[str, list[float]]:
    """`shares` of the numbers of all parts."""
    total, edges = np.histogram([], bins=BINS, range=(0, 1))
    for values in parts:
        numbers = np.clip(np.asarray(values, np.float64), 0, 1)
        total = total + np.histogram(numbers[np.isfinite(numbers)], bins=BINS, range=(0, 1))[0]
    return {"edges": np.round(edges, 6).tolist(), "counts": total.tolist()}


def sweep(output: RunOutput, values: tuple[float, ...] = SWEEP) -> list[dict[str, Any]]:
    """What the rule ``pairwise`` would keep at each eps: clips, seconds and bytes. Nothing where no clips were compared."""
    eps_values = sorted({*values, *([output.eps] if output.eps is not None else [])})
    parts = [_sweep_of(one, eps_values) for one in output.scores() if len(one)]
    return (
        [
            {
                "eps": eps,
                "kept": int(sum(kept)),
                "removed": int(sum(removed)),
                "kept_seconds": round(math.fsum(seconds), 3),
                "kept_bytes": int(sum(num_bytes)),
            }
            for eps, *rows in zip(eps_values, *parts, strict=True)
            for kept, removed, seconds, num_bytes in [zip(*rows, strict=True)]
        ]
        if parts
        else []
    )


def _sweep_of(rows: pd.DataFrame, eps_values: list[float]) -> list[tuple[int, int, float, int]]:
    """Per eps, how many of these clips stay and go, and the seconds and bytes that stay. One sort of the scores gives all."""
    score, seconds, num_bytes = _scored(rows)
    order = np.argsort(-score, kind="stable")
    lost = [np.concatenate([[0], np.cumsum(values[order])]) for values in (seconds, num_bytes)]
    return [
        (len(score) - removed, removed, float(lost[0][-1] - lost[0][removed]), int(lost[1][-1] - lost[1][removed]))
        for removed in count_duplicates(score, eps_values)
    ]


def _scored(rows: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """The score, seconds and bytes of compared clips."""
    seconds = (rows["end_s"] - rows["start_s"]).fillna(0.0).to_numpy(np.float64)
    num_bytes = rows["num_bytes"].fillna(0).to_numpy(np.float64).astype(np.int64)
    return rows["cosine_sim_score"].to_numpy(np.float32), seconds, num_bytes


def sums_per_state(output: RunOutput) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds and bytes of the kept, removed and plain clips, and of dropped ones where there are some."""
    seconds, num_bytes = defaultdict[str, list[float]](list), Counter[str]()
    for clips in output.clips():
        length = (clips["end_s"] - clips["start_s"]).fillna(0.0)
        for state, some in length.groupby(clips["state"]).sum().items():
            seconds[str(state)].append(float(some))
        for state, size in clips["num_bytes"].fillna(0).groupby(clips["state"]).sum().items():
            num_bytes[str(state)] += int(size)
    states = (KEPT, REMOVED, *([DROPPED] if DROPPED in num_bytes else []), PLAIN)
    return (
        {state: round(math.fsum(seconds[state]), 3) for state in states},
        {state: num_bytes[state] for state in states},
    )


def removed_by(output: RunOutput) -> dict[str, dict[str, int]]:
    """The removed clips by reason, by the kind of copy, and by whether the kept clip is from the same video."""
    reasons, kinds, pairs = Counter[str](), Counter[str](), Counter[bool]()
    for removed in output.removed():
        reasons.update(removed["reason"].dropna())
        kinds.update(removed["kind"].dropna())
        pairs.update(removed["same_source"].astype(bool).tolist())
    return {
        "reason": _counts(reasons),
        "kind": _counts(kinds),
        "pair": {"same_source": pairs[True], "cross_source": pairs[False]},
    }


def cluster_sizes(output: RunOutput) -> dict[str, Any]:
    """How many clips the clusters have; the largest ones, with their share of all pairs that were compared."""
    counted = Counter[int]()
    for rows in output.scores():
        counted.update(rows["cluster"].tolist())
    sizes = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    numbers = np.array([rows for _, rows in sizes], np.int64)
    pairs = numbers * (numbers - 1) // 2
    whole = max(int(pairs.sum()), 1)
    edges = [edge for edge in SIZES if edge <= max(numbers.max(initial=1), 1)]
    edges.append(next((edge for edge in SIZES if edge > edges[-1]), 10 * edges[-1]))
    counts, _ = np.histogram(numbers, bins=edges)
    largest = [
        {"cluster": int(cluster), "rows": int(rows), "share_of_pairs": round(int(own) / whole, 4)}
        for cluster, rows, own in zip([one for one, _ in sizes[:MOST_CLUSTERS]], numbers, pairs, strict=False)
    ]
    return {
        "number": len(numbers),
        "rows": int(numbers.sum()),
        "sizes": {"edges": edges, "counts": counts.tolist()},
        "largest": largest,
    }


def _counts(counted: Counter[str]) -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(counted.items())}
