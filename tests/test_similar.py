"""``similar_clips`` against one matrix product over all vectors."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curator_dask as cd


def test_it_finds_what_a_full_product_finds(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    for k in range(3):
        rows = range(k, 300, 3)
        folder = tmp_path / "kmeans" / f"centroid={k}"
        folder.mkdir(parents=True)
        pq.write_table(
            pa.table({"id": [f"c{i:03}" for i in rows], "embedding": list(X[list(rows)])}), folder / "part-0.parquet"
        )
    scores = X @ X[7]
    scores[7] = -2
    found = cd.similar_clips(str(tmp_path), "c007", 5)
    assert [clip for clip, _ in found] == [f"c{i:03}" for i in np.argsort(-scores)[:5]]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:5], atol=1e-6)
    with pytest.raises(cd.InputError, match="no clip 'x'"):
        cd.similar_clips(str(tmp_path), "x")


def test_a_folder_without_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(cd.InputError, match="no clustered vectors"):
        cd.similar_clips(str(tmp_path), "x")
