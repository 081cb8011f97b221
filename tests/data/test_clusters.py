"""Vectors of a cluster of k-means, and its centroids: numbers that would hide duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator_dask.data.clusters import finite_rows, stored_centroids
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(number):
    X = np.ones((4, 4), dtype=np.float32)
    X[2, 1], X[3, 3] = number, -number  # infinities of both signs have no sum
    with pytest.raises(InputError, match="cluster 0: row 2 has a number that is not finite"):
        finite_rows(X, "cluster 0")


def test_a_sum_that_is_too_large_is_no_fault():
    X = np.full((4, 4), 3e38, dtype=np.float32)
    assert finite_rows(X, "cluster 0") is X


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_centroids_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    C = np.ones((5, 3))
    np.save(tmp_path / "_kmeans_centroids.npy", C)
    assert np.array_equal(stored_centroids(Folder(str(tmp_path))), C)

    C[3:, 1] = number
    np.save(tmp_path / "_kmeans_centroids.npy", C)
    with pytest.raises(
        InputError, match="2 centroids with values that are not finite, the first for cluster 3"
    ) as caught:
        stored_centroids(Folder(str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
