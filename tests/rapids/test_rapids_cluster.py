"""LocalCUDACluster with our options, in the CPU mode that dask-cuda's own tests run in."""

from __future__ import annotations

import os

import pytest
from dask.system import CPU_COUNT

pytest.importorskip("dask_cuda", reason="RAPIDS is not installed: make test-rapids installs it", exc_type=ImportError)

from curator_dask.errors import ParameterError
from curator_dask.runtime import cluster as cluster_module
from curator_dask.runtime import local_cluster
from curator_dask.runtime.cluster import WORKERS, LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.local_cluster import gpu_options

# What needs a device even there: RMM's pool, which each worker makes as it starts, and cuDF's spilling.
NEEDS_A_DEVICE = {
    "rmm_async",
    "rmm_release_threshold",
    "rmm_allocator_external_lib_list",
    "enable_cudf_spill",
    "pre_import",
}


@pytest.fixture
def without_device(monkeypatch):
    monkeypatch.setenv("DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(cluster_module, "resolve_device", lambda device: "gpu" if device != "cpu" else "cpu")
    options = {name: value for name, value in gpu_options("rapids").items() if name not in NEEDS_A_DEVICE}
    # The default is a share of the device, which NVML would be asked for.
    monkeypatch.setattr(local_cluster, "gpu_options", lambda _: {**options, "device_memory_limit": 2**30})


def visible() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_worker_a_gpu_and_other_workers_for_other_stages(without_device):
    with LazyCluster(ClusterSettings(device="auto", dashboard=False)) as lazy:
        client = lazy.client
        assert list(client.run(visible).values()) == ["0"]
        assert list(client.nthreads().values()) == [1]
        lazy.serve("rapids")
        assert lazy.client is client
        lazy.serve("torch")
        assert client.status == "closed"
        assert lazy.client is not client
        assert list(lazy.client.run(visible).values()) == ["0"]
        lazy.serve("cpu")
        assert lazy.device == "cpu"
        assert len(lazy.client.nthreads()) == CPU_COUNT
        assert set(lazy.client.run(visible).values()) == {"0"}  # this process's own, not one each
    assert lazy._client is None


def test_options_of_each_kind():
    assert gpu_options("torch") == {}
    options = gpu_options("rapids")
    assert options["rmm_async"] is True
    assert "rmm_pool_size" not in options  # dask-cuda warns of both, and will refuse them
    assert "rmm_managed_memory" not in options
    with pytest.raises(ParameterError, match=r"workers \('tpu'\) must be one of cpu, torch, rapids"):
        LazyCluster().serve("tpu")
    assert WORKERS == ("cpu", "torch", "rapids")
