"""Vectors as files, for the stages that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.stages import builders

WriteVectors = Callable[..., Path]


@pytest.fixture
def write_vectors(tmp_path: Path) -> WriteVectors:
    """``write(ids, X, parts=2)`` → a folder of Parquet files with columns id and embedding (list<float>)."""

    def write(
        ids: Sequence[object],
        X: np.ndarray,
        *,
        parts: int = 1,
        folder: str = "vectors",
        order: Sequence[int] | None = None,
    ) -> Path:
        target = tmp_path / folder
        rows = np.array(range(len(ids)) if order is None else order)
        for number, chosen in enumerate(np.array_split(rows, parts)):
            builders.write_vectors(target / f"part-{number}.parquet", [ids[row] for row in chosen], X[chosen])
        return target

    return write
