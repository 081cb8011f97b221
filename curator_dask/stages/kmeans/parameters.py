"""The parameters of k-means that `KMeansStage` and `Workflow` share: all but paths, files and columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Final

from curator_dask.dedup.kmeans.start import Init, check_array, check_method
from curator_dask.errors import ParameterError
from curator_dask.keywords import with_suggestions

GROUPED_FROM: Final = 4096
"""From this many clusters on, rows are compared with the centroids of their nearest groups."""
FIT_ROWS_PER_CLUSTER: Final = 256
"""Measured in benchmarks/results/kmeans_sample_2_cores.md: fewer rows cost near copies that end in different clusters."""


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class KMeansParameters:
    """How k-means clusters vectors, wherever they are."""

    n_clusters: int | None = field(default=None, kw_only=False)
    """Number of clusters. None: one cluster per 1000 rows, at most 1000."""
    max_iter: int = 300
    """The fit stops after this many iterations at the latest."""
    tol: float = 1e-4
    """The fit stops as soon as an iteration lowers the cost by less than this share of it. On a sample that
    `fit_rows_per_cluster` asks for, the first iterations stop at an eighth of one part in their rows per cluster already."""
    random_state: int = 42
    """Seed of the start and of the sample to fit on."""
    init: Init = "k-means||"
    """Start of the fit: ``k-means||`` (D² sampling on a seeded sample), ``random``, or an array (n_clusters, D)."""
    n_init: int = 1
    """Number of fits from different starts; the one with the lowest inertia is kept. An array as `init` is run once."""
    oversampling_factor: float = 2.0
    """Candidates per cluster that each round of ``k-means||`` draws. Other starts draw none. With up to 409
    clusters (a sample of 20 rows per cluster), every row of the sample is a candidate."""
    max_samples_per_batch: int = 32768
    """At most this many rows have their distances to all centroids in memory at a time. It bounds the memory and changes
    no result. On a CPU fewer are taken where that suits the cache."""
    fit_data_fraction: float | None = None
    """Share of the rows to fit on, chosen by id. None: all rows up to 262,144 of them, else as many as
    `fit_rows_per_cluster` says; at most as many as 2 GiB of vectors hold."""
    fit_rows_per_cluster: int = FIT_ROWS_PER_CLUSTER
    """Of more than 262,144 rows, the fit takes a sample, chosen by id: this many rows per cluster, and at least 65,536. The
    first iterations take a fourth of them, the last ones twice as many. It counts only where `fit_data_fraction` is None."""
    exact_assignment: bool = False
    """Compare every row with all centroids, however many there are. Otherwise, from 4,096 clusters on and on CPUs, a row is
    compared with those of the nearest groups of centroids, if at least 99 % of the rows get their nearest one so."""

    def __post_init__(self) -> None:
        for name in ("n_clusters", "max_iter", "n_init", "max_samples_per_batch", "fit_rows_per_cluster"):
            if name != "n_clusters" or self.n_clusters is not None:
                object.__setattr__(self, name, check_count(name, getattr(self, name)))
        if not (_is_integer(self.random_state) and 0 <= self.random_state < 2**63):
            raise ParameterError(f"random_state ({self.random_state!r}) must be an integer from 0 to 2**63 - 1")
        object.__setattr__(self, "random_state", int(self.random_state))
        if not self.tol >= 0:
            raise ParameterError(f"tol ({self.tol}) must be >= 0")
        if not 0 < self.oversampling_factor < math.inf:
            raise ParameterError(f"oversampling_factor ({self.oversampling_factor}) must be a number > 0")
        if self.fit_data_fraction is not None and not 0 < self.fit_data_fraction <= 1:
            raise ParameterError(f"fit_data_fraction ({self.fit_data_fraction}) must be above 0 and at most 1")
        self._check_init()

    def _check_init(self) -> None:
        """Refuse a start that cannot be meant, before any vector is read; an array is kept on the host."""
        if isinstance(self.init, str):
            check_method(self.init)
            return
        array = check_array(self.init)
        if self.n_clusters is not None and len(array) != self.n_clusters:
            raise ParameterError(
                f"init has {len(array)} rows, and n_clusters is {self.n_clusters}: give a row for each cluster"
            )
        object.__setattr__(self, "init", array)


def check_count(name: str, value: Any) -> int:
    """The value as a plain int, since JSON takes no NumPy integers. Raises ParameterError unless it is >= 1."""
    if not (_is_integer(value) and value >= 1):
        raise ParameterError(f"{name} ({value!r}) must be an integer >= 1")
    return int(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral)
