"""Choose the rows to fit on: all of a small input, and of a large one as many as teach where the centroids are.

A centroid that is the mean of m rows lies off its place by 1/m of the spread of its rows, so the mean squared distance of
all rows to it is about 1/m higher than to the best place. More rows per cluster than that teach little; more rows of other
clusters teach nothing. And the first iterations, which move the centroids far, need fewer rows than the last ones. What
it costs was measured: benchmarks/results/kmeans_sample_2_cores.md.
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
LEVELS: Final = (1 / 4, 1, 2)
"""The fit begins on this share of the rows that `fit_rows_per_cluster` asks for, goes on with all, and ends on twice as many."""
SETTLED: Final = 1 / 8
"""The first iterations on a sample stop where one gains less than this share of what the sample itself costs."""
AUTO_ROWS_PER_CLUSTER: Final = 1000
AUTO_MAX_CLUSTERS: Final = 1000


class Sample(NamedTuple):
    """Which rows a fit takes."""

    fraction: float
    """Share of the rows; 1 means all."""
    kept: bool
    """Whether the workers keep all rows in memory until these are assigned. Else the files are read for each pass."""
    levels: tuple[float, ...] = ()
    """Growing shares of the rows, which a fit on a sample takes one after the other; the last is `fraction`. A fit without
    levels takes the whole share at once."""
    step: bool = False
    """Whether a step of Lloyd over all rows follows, since the sample has fewer rows than it should have."""

    @property
    def refined(self) -> bool:
        """Whether the rows are a sample because there are enough of them, and not because `fit_data_fraction` says so."""
        return self.step or bool(self.levels)


def choose_sample(parameters: KMeansParameters, num_rows: int, dimension: int, device: str = "cpu") -> Sample:
    """The share of ``num_rows`` rows of ``dimension`` numbers to fit on. Of the machine, only the kind of device matters.

    >>> choose_sample(KMeansParameters(1000), 1_000_000, 512)
    Sample(fraction=0.512, kept=True, levels=(0.064, 0.256, 0.512), step=False)
    >>> choose_sample(KMeansParameters(1000), 200_000, 512).fraction, choose_sample(KMeansParameters(9), 200_000, 8192)
    (1.0, Sample(fraction=0.32768, kept=False, levels=(), step=False))
    """
    num_bytes = num_rows * dimension * 4
    fitting = min(1.0, FIT_BYTES / num_bytes) if num_bytes else 1.0
    kept = fitting == 1.0
    if parameters.fit_data_fraction is not None:
        return Sample(parameters.fit_data_fraction, kept)
    enough = max(LEAST_ROWS, parameters.fit_rows_per_cluster * wanted_clusters(parameters, num_rows))
    if num_rows <= SMALL_ROWS or enough >= num_rows:
        return Sample(fitting, kept)
    if device == "gpu":  # cuML fits on one sample
        return Sample(min(fitting, enough / num_rows), kept, step=True)
    wanted = min(1.0, LEVELS[-1] * enough / num_rows)
    levels = sorted({min(fitting, wanted, level * enough / num_rows) for level in LEVELS})
    return Sample(levels[-1], kept, tuple(levels), step=levels[-1] < wanted)


def sample_tol(tol: float, num_fit_rows: int, n_clusters: int) -> float:
    """The `tol` of the first iterations on a sample: at least an eighth of one part in the rows per cluster.

    What iterations gain below that is smaller than what the sample costs, and what follows moves the centroids by more.
    Measured: benchmarks/results/kmeans_sample_2_cores.md.

    >>> sample_tol(1e-4, 64_000, 1000), sample_tol(1e-2, 64_000, 1000)
    (0.001953125, 0.01)
    """
    return max(tol, SETTLED * n_clusters / num_fit_rows)


def wanted_clusters(parameters: KMeansParameters, num_rows: int) -> int:
    """The number of clusters that the parameters ask for; where they leave it open, one per 1000 rows, at most 1000."""
    if parameters.n_clusters is not None:
        return parameters.n_clusters
    if not isinstance(parameters.init, str):
        return len(parameters.init)
    return min(AUTO_MAX_CLUSTERS, max(1, num_rows // AUTO_ROWS_PER_CLUSTER))
