"""Stands for cuML's k-means over Dask in a rehearsal: the client fetches all rows and fits them."""

from __future__ import annotations

from typing import Any

from cuml.cluster import KMeans as OneKMeans


class KMeans:
    def __init__(self, *, client: Any, **options: Any) -> None:
        self._client, self._options = client, options

    def fit(self, X: Any) -> OneKMeans:
        return OneKMeans(**self._options).fit(self._client.compute(X).result())
