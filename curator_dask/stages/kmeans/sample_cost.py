"""What short cuts cost: a fit on a sample of the rows, and an assignment that does not look at all centroids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.names import counted
from curator_dask.runtime.records import UnitRecord

INERTIA: Final = "inertia"
"""Name, in the data of a bucket's marker, of the `inertia_of` its rows."""
GRID: Final = 2.0**24


def inertia_of(l2_dist: NDArray[np.float32]) -> float:
    """The sum of the squares of (n,) distances, each rounded to a multiple of 2**-24, so that no order changes the sum.

    >>> inertia_of(np.float32([0.5, 1.0])), inertia_of(np.float32([1.0, 0.5]))
    (1.25, 1.25)
    """
    squares = l2_dist.astype(np.float64) ** 2
    return float(np.rint(squares * GRID).sum() / GRID)


def describe_cost(fit: UnitRecord, buckets: Iterable[UnitRecord]) -> dict[str, Any]:
    """Rows and inertia per row of the fit and of all rows; {} where the fit took all rows or an earlier version made it.

    The rows of a sample lie nearer to centroids that were fitted to them than other rows do, so a fit on all rows ends
    between the two numbers.
    """
    written = list(buckets)
    rows = sum(one.counts.get("rows", 0) for one in written)
    fitted = int(fit.counts.get("rows_fitted", rows))
    if fitted >= rows or any(INERTIA not in one.data for one in written):
        return {}
    of_all = sum(one.data[INERTIA] for one in written)
    return {
        "rows_fitted": fitted,
        "rows": rows,
        "inertia_per_row_fitted": fit.data["inertia"] / fitted,
        "inertia_per_row": of_all / rows,
    }


def cost_in_words(cost: dict[str, Any]) -> str:
    """A sentence for the person who runs it."""
    of_fit, of_all = cost["inertia_per_row_fitted"], cost["inertia_per_row"]
    more = f", so a fit on all rows would lower it by at most {1 - of_fit / of_all:.1%}" if of_all > of_fit else ""
    return (
        f"kmeans: fitted on {cost['rows_fitted']:,} of {counted(cost['rows'], 'rows')}; the mean squared distance to the "
        f"centroid is {of_fit:.4g} in the sample and {of_all:.4g} over all rows{more}"
    )


def search_in_words(search: dict[str, Any]) -> str:
    """The same for a `Search` of the record."""
    return (
        f"kmeans: rows were compared with the centroids of {search['looked_at']} of {search['groups']} groups; of "
        f"{search['rows_tried']:,} rows tried, {search['recall']:.2%} get their nearest centroid so, and the mean squared "
        f"distance is {search['inertia_ratio'] - 1:.2%} higher. The first centroids and the fit were found by groups too; what "
        "that costs is not in this number. exact_assignment compares all, in the fit too"
    )
