"""A cluster with a GPU and one without. Without a GPU all tests of this folder are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import why_no_gpu
from curator_dask.stages.base import RunContext


@pytest.fixture(autouse=True, scope="session")
def cp() -> Any:
    """CuPy. Everything here depends on it, so everything is skipped with the reason."""
    missing = why_no_gpu()
    if missing:
        pytest.skip(f"no GPU: {missing}")
    import cupy

    return cupy


@pytest.fixture(scope="session")
def gpu_cluster(cp: Any) -> Iterator[LazyCluster]:
    """One worker per GPU, with RMM."""
    with LazyCluster(ClusterSettings(device="gpu", dashboard=False)) as shared:
        yield shared


@pytest.fixture
def on_gpu(gpu_cluster: LazyCluster) -> RunContext:
    return RunContext(gpu_cluster)
