"""Fixtures that every part of the suite shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curator_dask.cluster import ClusterSettings, LazyCluster
from curator_dask.pipeline import RunContext

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of golden vectors and test videos beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("no ../shared folder beside the checkout: golden vectors and test videos are left out")
    return SHARED


@pytest.fixture(scope="session")
def real_videos(shared_dir: Path) -> Path:
    return shared_dir / "videos" / "real"


@pytest.fixture(scope="session")
def bad_videos(shared_dir: Path) -> Path:
    return shared_dir / "videos" / "bad"


@pytest.fixture(scope="session")
def cluster() -> Iterator[LazyCluster]:
    """One local Dask cluster of two worker processes for the whole suite."""
    with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as shared:
        yield shared


@pytest.fixture
def context(cluster: LazyCluster) -> RunContext:
    """A run context on the suite's cluster, with fresh switches."""
    return RunContext(cluster)
