"""Choose the rows to fit on: all of a small input, and of a large one as many as teach where the centroids are.

A centroid that is the mean of m rows lies off its place by 1/m of the spread of its rows, so the mean squared distance of
all rows to it is about 1/m higher than to the best place. More rows per cluster than that teach little; more rows of other
clusters teach nothing. What it costs was measured: benchmarks/results/kmeans_sample_2_cores.md.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from curator_dask.stages.kmeans.parameters import KMeansParameters

FIT_BYTES = 2 << 30
"""All workers together hold this many bytes of vectors during a fit. The assignment always takes all rows; where these fit
too, they are read once."""
SMALL_ROWS = 1 << 18
"""Up to this many rows, the fit takes all that `FIT_BYTES` hold."""
LEAST_ROWS: Final = 1 << 16
"""A sample has at least this many rows, so that small clusters among few large ones have some too."""
SETTLED: Final = 1 / 8
"""The fit on a sample stops where an iteration gains less than this share of what the sample itself costs."""
AUTO_ROWS_PER_CLUSTER: Final = 1000
AUTO_MAX_CLUSTERS: Final = 1000


class Sample(NamedTuple):
    """Which rows a fit takes."""

    fraction: float
    """Share of the rows; 1 means all."""
    refined: bool
    """Whether a step of Lloyd over all rows follows the fit on the sample."""
    kept: bool
    """Whether the workers keep all rows in memory until these are assigned. Else the files are read for each pass."""


def choose_sample(parameters: KMeansParameters, num_rows: int, dimension: int) -> Sample:
    """The share of ``num_rows`` rows of ``dimension`` numbers to fit on. It depends on the data alone, never on the machine.

    >>> choose_sample(KMeansParameters(1000), 1_000_000, 512)
    Sample(fraction=0.256, refined=True, kept=True)
    >>> choose_sample(KMeansParameters(1000), 200_000, 512), choose_sample(KMeansParameters(9), 200_000, 8192)
    (Sample(fraction=1.0, refined=False, kept=True), Sample(fraction=0.32768, refined=False, kept=False))
    """
    num_bytes = num_rows * dimension * 4
    fitting = min(1.0, FIT_BYTES / num_bytes) if num_bytes else 1.0
    kept = fitting == 1.0
    if parameters.fit_data_fraction is not None:
        return Sample(parameters.fit_data_fraction, False, kept)
    enough = max(LEAST_ROWS, parameters.fit_rows_per_cluster * wanted_clusters(parameters, num_rows))
    if num_rows <= SMALL_ROWS or enough >= num_rows:
        return Sample(fitting, False, kept)
    return Sample(min(fitting, enough / num_rows), True, kept)


def sample_tol(tol: float, num_fit_rows: int, n_clusters: int) -> float:
    """The `tol` of a fit on a sample that a step over all rows follows: at least an eighth of one part in the rows per cluster.

    What iterations gain below that is smaller than what the sample costs, and the step over all rows moves the centroids
    by more. Measured: benchmarks/results/kmeans_sample_2_cores.md.

    >>> sample_tol(1e-4, 256_000, 1000), sample_tol(1e-2, 256_000, 1000)
    (0.00048828125, 0.01)
    """
    return max(tol, SETTLED * n_clusters / num_fit_rows)


def wanted_clusters(parameters: KMeansParameters, num_rows: int) -> int:
    """The number of clusters that the parameters ask for; where they leave it open, one per 1000 rows, at most 1000."""
    if parameters.n_clusters is not None:
        return parameters.n_clusters
    if not isinstance(parameters.init, str):
        return len(parameters.init)
    return min(AUTO_MAX_CLUSTERS, max(1, num_rows // AUTO_ROWS_PER_CLUSTER))
