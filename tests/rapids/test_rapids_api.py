"""What this package assumes of RAPIDS, checked with the installed version; needs no GPU."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("cudf", reason="RAPIDS is not installed: make test-rapids installs it", exc_type=ImportError)

import cudf
import cupy

from curator_dask.data.device_vectors import _is_for_device, read_matrix
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.kmeans.lloyd import kmeans_fit
from curator_dask.dedup.similarity.candidates import PRECISIONS
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity, near_pairs
from curator_dask.errors import CuratorError, DeviceError
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import dask_client
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import TF32_VARIABLE, resolve_device, to_device, why_no_gpu
from curator_dask.runtime.local_cluster import gpu_options
from curator_dask.stages.kmeans.gpu_fit import GpuFit, Plan, estimator_options
from tests import strict_cupy
from tests.dedup.reference import random_unit

without_gpu = pytest.mark.skipif(cupy.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    "name",
    ["cupy", "rmm", "pylibcudf", "cudf", "dask_cudf", "dask_cuda", "cuml", "raft_dask", "cuml.dask.cluster", "pynvml"],
)
def test_imports(name):
    assert importlib.import_module(name)


def test_one_release_of_all():
    from importlib.metadata import version

    wanted = "26.10"
    found = {
        name: importlib.import_module(name).__version__ for name in ("cudf", "cuml", "rmm", "dask_cuda", "raft_dask")
    }
    assert all(one.startswith(wanted) for one in found.values()), found
    assert (version("dask"), version("distributed")) == ("2026.7.1", "2026.7.1")
    assert version("pandas").startswith("3.0.")


FIT = estimator_options(np.eye(2, dtype=np.float32), GpuFit(1, 0.1, 0, 1), Plan(True, True, 0))
CALLS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    # what is called, with which arguments: each one stands in curator_dask just so
    "cuml.cluster.KMeans": ("cuml.cluster:KMeans", (), {"output_type": "numpy", **FIT}),
    "cuml.cluster.KMeans.fit": ("cuml.cluster:KMeans.fit", (None, None), {}),
    "cuml.dask.cluster.KMeans": ("cuml.dask.cluster:KMeans", (), {"client": None, **FIT}),
    "cuml.dask.cluster.KMeans.fit": ("cuml.dask.cluster:KMeans.fit", (None, None), {}),
    "LocalCUDACluster": ("dask_cuda:LocalCUDACluster", (), {"n_workers": 1, "threads_per_worker": 1, **gpu_options("rapids")}),
    "cudf.read_parquet": ("cudf:read_parquet", ("f",), {"columns": ["e"], "row_groups": [[0]]}),
    "pynvml.nvmlInit": ("pynvml:nvmlInit", (), {}),
    "pynvml.nvmlShutdown": ("pynvml:nvmlShutdown", (), {}),
    "pynvml.nvmlDeviceGetCount": ("pynvml:nvmlDeviceGetCount", (), {}),
    "pynvml.nvmlDeviceGetHandleByIndex": ("pynvml:nvmlDeviceGetHandleByIndex", (0,), {}),
    "pynvml.nvmlDeviceGetName": ("pynvml:nvmlDeviceGetName", (None,), {}),
    "pynvml.nvmlDeviceGetMemoryInfo": ("pynvml:nvmlDeviceGetMemoryInfo", (None,), {}),
    "pynvml.nvmlSystemGetDriverVersion": ("pynvml:nvmlSystemGetDriverVersion", (), {}),
    "pynvml.nvmlSystemGetCudaDriverVersion": ("pynvml:nvmlSystemGetCudaDriverVersion", (), {}),
    "cupy.asarray": ("cupy:asarray", (None,), {}),
    "cupy.empty": ("cupy:empty", ((1, 1),), {"dtype": np.float32}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_signatures_take_our_arguments(name):
    where, args, more = CALLS[name]
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    bound = inspect.signature(found).bind(*args, **more)
    taken = {**bound.arguments, **bound.arguments.get("kwargs", {})}
    assert more.keys() <= taken.keys()


def test_cumls_dask_estimator_would_take_any_name_so_the_other_is_asked():
    with pytest.raises(TypeError, match="n_cluster"):
        inspect.signature(importlib.import_module("cuml.cluster").KMeans).bind(n_cluster=3)


def test_attributes_that_are_read():
    for name in ("leaves", "len"):
        assert hasattr(cudf.core.accessors.lists.ListMethods, name)
    for name in ("null_count", "values", "to_arrow", "from_arrow", "list"):
        assert hasattr(cudf.Series, name)
    for name in ("get", "astype", "reshape", "data", "strides", "itemsize"):
        assert hasattr(cupy.ndarray, name)
    for name in ("compute_capability", "id", "synchronize"):
        assert hasattr(cupy.cuda.Device, name)
    assert callable(cupy.cuda.runtime.memGetInfo)
    assert callable(cupy.cuda.runtime.getDeviceProperties)
    assert callable(cupy.cuda.device.get_cublas_handle)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)


class TestProductsByCublas:
    """`dedup.candidates` calls cuBLAS itself, to say how exact a product has to be."""

    def test_parameters_are_in_the_order_of_the_stand_ins(self):
        text = cupy.cuda.cublas.gemmEx.__doc__
        names = [parameter.split()[-1] for parameter in text[text.index("(") + 1 : text.index(")")].split(",")]
        assert names == list(inspect.signature(strict_cupy.gemm_ex).parameters)

    @pytest.mark.parametrize("name", strict_cupy.CUBLAS)
    def test_numbers(self, name):
        assert getattr(cupy.cuda.cublas, name) == strict_cupy.CUBLAS[name]

    def test_float32_has_its_number(self):
        assert cupy.cuda.runtime.CUDA_R_32F == strict_cupy.REAL

    def test_every_precision_has_its_name(self):
        assert {precision.compute_type for precision in PRECISIONS.values()} <= strict_cupy.CUBLAS.keys()

    def test_errors_are_those_that_are_caught(self):
        assert issubclass(cupy.cuda.cublas.CUBLASError, RuntimeError)

    def test_cupys_own_setting_is_the_one_that_is_refused(self, monkeypatch):
        """No device is needed. With the variable set, CuPy asks whether the device can do TF32."""
        from cupy._core import _routines_linalg

        monkeypatch.setenv(TF32_VARIABLE, "1")
        _routines_linalg.set_compute_type(np.float32, _routines_linalg.COMPUTE_TYPE_TBD)
        try:
            if cupy.cuda.is_available():
                assert _routines_linalg.get_compute_type(np.float32) == _routines_linalg.COMPUTE_TYPE_TF32
            else:
                with pytest.raises(RuntimeError, match="cudaError"):
                    _routines_linalg.get_compute_type(np.float32)
        finally:
            _routines_linalg.set_compute_type(np.float32, _routines_linalg.COMPUTE_TYPE_DEFAULT)


class TestWorkersThatAUserStarts:
    """`dask cuda worker` as docs/clusters_and_gpus.md has it, and with the options that our own workers get."""

    @staticmethod
    def options(line: str) -> dict[str, Any]:
        from dask_cuda.cli import worker

        return dict(worker.make_context("dask cuda worker", shlex.split(line)).params)

    def test_the_line_of_the_page_on_clusters(self):
        page = Path(__file__).parents[2].joinpath("docs", "clusters_and_gpus.md").read_text()
        lines = re.findall(r"^dask cuda worker (.*)$", page, re.MULTILINE)
        assert lines
        for line in lines:
            taken = self.options(line)
            assert taken["rmm_async"] is True
            assert taken["enable_cudf_spill"] is True
            assert list(taken["rmm_allocator_external_lib_list"]) == ["cupy"]

    def test_each_option_of_our_own_workers_has_a_flag(self):
        taken = self.options(
            "tcp://127.0.0.1:8786 --rmm-async --rmm-release-threshold 0.8 --set-rmm-allocator-for-libs cupy "
            "--enable-cudf-spill --pre-import cudf,cupy,rmm --resources GPU=1 --death-timeout 60"
        )
        assert gpu_options("rapids").keys() <= {name for name, value in taken.items() if value not in (None, False)}


class TestTheStandInForCupy:
    """The default tests run the kernels on this stand-in, see tests/strict_cupy.py."""

    def test_offers_nothing_that_cupy_lacks(self):
        names = [name for name in dir(np) if not name.startswith("_")]
        assert {name for name in names if not hasattr(cupy, name)} <= strict_cupy.LACKING

    def test_all_calls_of_the_kernels_exist_with_their_arguments(self, monkeypatch):
        xp = strict_cupy.strict_cupy()
        monkeypatch.setitem(sys.modules, "cupy", xp)
        strict_cupy.calls.clear()
        X = xp.asarray(random_unit(80, 8, 0, copies=0.5, noise=1e-7))
        kmeans_fit([normalise(X)[0]], 5)
        max_earlier_similarity(X)
        list(near_pairs(X, 0.01))
        monkeypatch.undo()
        assert len(strict_cupy.calls) > 10
        for name, keywords in strict_cupy.calls:
            found: Any = cupy
            for part in name.split("."):
                found = getattr(found, part)
            if name.startswith("ndarray."):
                assert all(f"{keyword}" in (found.__doc__ or "") for keyword in keywords), name
            elif not isinstance(found, cupy.ufunc) and not name.endswith(".at"):
                assert keywords <= set(inspect.signature(found).parameters), name


class TestWhichColumnsGoToTheDevice:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (pa.list_(pa.float32()), True),
            (pa.list_(pa.float64()), True),
            (pa.large_list(pa.float32()), True),
            (pa.list_(pa.float32(), 3), True),
            (pa.list_(pa.float16()), False),
            (pa.list_(pa.int64()), False),
            (pa.fixed_shape_tensor(pa.float32(), (3,)), False),
            (pa.string(), False),
        ],
        ids=str,
    )
    def test_by_type(self, kind, expected):
        assert _is_for_device(kind, 100) is expected

    def test_by_number(self):
        assert not _is_for_device(pa.list_(pa.float32()), 2**31)


@without_gpu
class TestWithoutAGpu:
    """RAPIDS is installed, but there is no device: every command ends with a sentence, not with a traceback of CUDA."""

    def test_auto_is_the_cpu(self, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert resolve_device("auto") == "cpu"
        assert "the NVIDIA driver does not answer" in str(why_no_gpu())

    def test_a_gpu_that_is_asked_for(self, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        told = r"a GPU was asked for \(--device gpu\), but the NVIDIA driver does not answer \(NVML Shared Library Not Found\)"
        with pytest.raises(DeviceError, match=told):
            resolve_device("gpu")
        with pytest.raises(DeviceError, match=told), dask_client(ClusterSettings(device="gpu")):
            pass

    def test_reading_vectors(self, tmp_path):
        pq.write_table(pa.table({"embedding": [[1.0, 2.0]]}), tmp_path / "a.parquet")
        with pytest.raises(DeviceError, match=r"a\.parquet: the GPU fails"):
            read_matrix(Folder(str(tmp_path)), "a.parquet", "embedding", 2)

    def test_uploading(self):
        with pytest.raises((CuratorError, RuntimeError), match="cudaErrorInsufficientDriver"):
            to_device(np.ones(3), "gpu")
