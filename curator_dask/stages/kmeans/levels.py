"""The fit on a sample that grows: first few rows and all centres, then more rows and the centres near each of them.

The first iterations move the centroids far, and a few rows tell where to. What is left to move is less than the
differences between a row's near centres, so later iterations need not compare a row with all others.
Measured: benchmarks/results/kmeans_sample_2_cores.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.kmeans.lloyd import KMeansResult, iterate, lloyd
from curator_dask.stages.kmeans.held import RowsOnWorkers
from curator_dask.stages.kmeans.sample import sample_tol
from curator_dask.stages.kmeans.spec import FitSpec

STEPS_BETWEEN: Final = 3
"""At most this many iterations on each level between the first and the last."""
LAST_STEPS: Final = 6
"""At most this many iterations on the last level."""

Tell = Callable[[float], None]


def fit_in_levels(held: RowsOnWorkers, spec: FitSpec, start: NDArray[np.float32], tell: Tell) -> KMeansResult:
    """Fit on one level after the other, two or more of them, from the centres ``start`` (k, D).

    ``max_iter`` limits the iterations of all levels together; at least one more is on the last level. The inertia of the
    result is that of the last level, with the near centres of its rows; ``tell`` hears the cost of every iteration.
    """
    most, tol = spec.parameters.max_iter, spec.parameters.tol
    first, *between, last = held.levels
    first_tol = sample_tol(tol, first.num_rows, len(start))
    C, n_iter, _ = iterate(
        lambda C: held.sum_up(C, spec, first), start, first.sq_norms, max_iter=most, tol=first_tol, after_each=tell
    )
    for level in between:
        steps = min(STEPS_BETWEEN, most - n_iter)
        C, more, _ = iterate(held.among_near(level), C, level.sq_norms, max_iter=steps, tol=tol, after_each=tell)
        n_iter += more
    steps = min(LAST_STEPS, max(1, most - n_iter))
    result = lloyd(held.among_near(last), C, last.sq_norms, max_iter=steps, tol=tol, after_each=tell)
    return replace(result, n_iter=n_iter + result.n_iter)
