"""Stands for cuML's k-means in a rehearsal: our own Lloyd, from the start that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from curator_dask.dedup.kmeans.lloyd import kmeans_fit


class KMeans:
    def __init__(
        self, *, n_clusters: int, init: Any, n_init: int = 1, max_iter: int = 300, tol: float = 1e-4, **_: Any
    ) -> None:
        self._k, self._init, self._max_iter, self._tol = n_clusters, init, max_iter, tol

    def fit(self, X: Any) -> KMeans:
        host = X.get() if hasattr(X, "get") else np.asarray(X)
        done = kmeans_fit([host], self._k, init=self._init, max_iter=self._max_iter, tol=self._tol)
        self.cluster_centers_, self.n_iter_, self.inertia_ = done.centroids, done.n_iter, done.inertia
        return self
