"""The line between duplicate and not: ``cosine_sim_score >= 1 - eps``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.similarity.pairs import STEPS
from curator_dask.errors import ParameterError

DEFAULT_EPS: Final = 0.01
"""The eps of the original workflow."""


def chosen_eps(given: float | None, model_default: float | None = None) -> float:
    """The eps to decide by: the user's if there is one, else that of the embedding model if known, else `DEFAULT_EPS`."""
    if given is not None:
        return given
    return DEFAULT_EPS if model_default is None else model_default


def check_eps(eps: float) -> None:
    """Raise a ParameterError unless ``0 <= eps < 1``: at 1, unrelated rows would be duplicates."""
    if not 0 <= eps < 1:
        raise ParameterError(f"eps must be at least 0 and below 1, got {eps}")


def is_duplicate(score: Any, eps: float) -> NDArray[np.bool_]:
    """``score >= 1 - eps``, both in float64, element by element.

    >>> is_duplicate(np.float32([0.95, 0.9, 0.85]), 0.1).tolist()
    [True, False, False]

    Scores are stored as float32 and widened without loss; ``1 - eps`` is what Python computes. So a score of
    ``float32(0.9)``, which is 0.89999998, is no duplicate at eps 0.1, on any machine and in any tool that compares
    in double precision. (NumPy alone would round 0.9 down to float32 and say yes.)
    """
    check_eps(eps)
    duplicate: NDArray[np.bool_] = np.asarray(score).astype(np.float64) >= 1.0 - eps
    return duplicate


def count_duplicates(scores: Any, eps_values: Sequence[float]) -> list[int]:
    """How many rows are duplicates at each eps, from one sort of the scores.

    >>> count_duplicates(np.float32([0.95, 0.9, 0.85, 0.0]), [0.1, 0.2])
    [1, 3]
    """
    for eps in eps_values:
        check_eps(eps)
    ordered = np.sort(np.asarray(scores).astype(np.float64))
    return [len(ordered) - int(np.searchsorted(ordered, 1.0 - eps)) for eps in eps_values]


def least_steps(eps: float) -> int:
    """The lowest whole number of steps of 2**-24 that ``is_duplicate`` calls a duplicate."""
    check_eps(eps)
    return math.ceil((1.0 - eps) * STEPS)  # a product with a power of two is exact


def suggest_eps(scores: Any, target_keep: float) -> float:
    """The largest eps that keeps at least the share ``target_keep`` of all rows.

    Args:
        scores: (N,) float32, ``cosine_sim_score`` of all rows.
        target_keep: from 0 to 1.

    Returns:
        An eps from 0 to below 1, at which the least similar duplicate lies exactly on the line. 0.0 where not even the
        most similar rows may be removed; exact duplicates (score 1) are removed at every eps.

    Of five rows, at least 60 % are kept, so two may be removed. The two rows with a score of 0.75 can only be removed
    together, which would be three:

    >>> suggest_eps(np.float32([0, 0.75, 0.875, 0.75, 0]), 0.6)
    0.125
    """
    values = np.sort(np.asarray(scores).astype(np.float64))[::-1]
    may_go = rows_that_may_go(len(values), target_keep)
    lines, counts = np.unique(-values[values > 0], return_counts=True)
    affordable = np.flatnonzero(np.cumsum(counts) <= may_go)
    return float(1.0 + lines[affordable[-1]]) if len(affordable) else 0.0


def rows_that_may_go(num_rows: int, target_keep: float) -> int:
    """The most rows that can be removed such that at least the share ``target_keep``, from 0 to 1, is kept."""
    if not 0 <= target_keep <= 1:
        raise ParameterError(f"target_keep must be from 0 to 1, got {target_keep}")
    # The share is a decimal fraction: 0.7 of 10 rows are 7, not 8 because 0.7 * 10 came out a hair above.
    return num_rows - math.ceil(target_keep * num_rows - 1e-9)
