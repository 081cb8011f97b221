"""Outputs of the stages before identify. Each is made once; a test gets a copy."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curator_dask.runtime.cluster import LazyCluster
from curator_dask.stages.base import RunContext
from tests.stages import builders
from tests.stages.identify.test_also_copies import make
from tests.stages.identify.test_greedy_across_clusters import compare, crowded


@pytest.fixture(scope="session")
def compared_once(tmp_path_factory: pytest.TempPathFactory, cluster: LazyCluster) -> Callable[[int, int, int], Path]:
    """(seed, rows, dimensions) → what `compare` makes of such rows in crowds."""

    @functools.cache
    def made(seed: int, num_rows: int, dim: int) -> Path:
        out = tmp_path_factory.mktemp("compared")
        builders.write_vectors(out / "vectors" / "part-0.parquet", *crowded(seed, num_rows, dim))
        return compare(out, RunContext(cluster), out / "vectors")

    return made


@pytest.fixture
def compared_rows(compared_once: Callable[[int, int, int], Path], tmp_path: Path) -> Callable[[int, int, int], Path]:
    """A copy of that for one test."""
    return lambda *which: Path(shutil.copytree(compared_once(*which), tmp_path / "out"))


@pytest.fixture(scope="session")
def with_overlaps_once(tmp_path_factory: pytest.TempPathFactory, cluster: LazyCluster) -> Callable[[int], Path]:
    """Seed → rows in crowds, their tables within clusters (``p``) and across (``x``), and overlaps at random."""
    return functools.cache(lambda seed: make(tmp_path_factory.mktemp("overlaps"), RunContext(cluster), seed))


@pytest.fixture
def with_overlaps(with_overlaps_once: Callable[[int], Path], tmp_path: Path) -> Callable[[int], Path]:
    """A copy of that for one test."""
    return lambda seed: Path(shutil.copytree(with_overlaps_once(seed), tmp_path / "out"))
