"""A cluster with a GPU and one without. Without a GPU all tests of this folder are skipped with the reason.

The kernels need a device and CuPy only; frames and clusters need RAPIDS too.
"""

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
    missing = why_no_device()
    if missing:
        pytest.skip(f"no GPU: {missing}")
    import cupy

    return cupy


def why_no_device() -> str | None:
    """What CuPy lacks for work on a device; None if nothing."""
    try:
        import cupy

        cupy.cuda.runtime.getDeviceProperties(0)
    except ImportError as error:
        return str(error)
    except RuntimeError as error:  # CUDARuntimeError is a subclass
        return f"the NVIDIA driver does not answer ({error})"
    return None


@pytest.fixture(scope="session")
def rapids(cp: Any) -> None:
    """RAPIDS, with a device."""
    missing = why_no_gpu()
    if missing:
        pytest.skip(f"no GPU: {missing}")


@pytest.fixture(scope="session")
def gpu_cluster(rapids: None) -> Iterator[LazyCluster]:
    """One worker per GPU, with RMM."""
    with LazyCluster(ClusterSettings(device="gpu", dashboard=False)) as shared:
        yield shared


@pytest.fixture
def on_gpu(gpu_cluster: LazyCluster) -> RunContext:
    return RunContext(gpu_cluster)
