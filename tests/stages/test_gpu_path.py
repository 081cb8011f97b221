"""The stages as they run on a GPU worker, with stand-ins for the device, for cuDF's reader and for cuML's estimator.

The path is the real one: vectors read to the device, cuML's fit, labels and scores by the kernels on the device. What the
stand-ins compute is what the CPU computes, so both must write the same files.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest
from distributed import Client, LocalCluster

from curator_dask import (
    DeviceError,
    EmbedStage,
    SplitStage,
)
from curator_dask.data import vector_source
from curator_dask.data.tables import open_parquet
from curator_dask.data.vectors import column_matrix
from curator_dask.dedup.kmeans.lloyd import kmeans_fit
from curator_dask.models import register_model, registry
from curator_dask.models.base import ModelOptions
from curator_dask.runtime import cluster as cluster_module
from curator_dask.runtime import device as device_module
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.device import WorkerMemory
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed import spec as embed_spec
from curator_dask.stages.kmeans import gpu_fit as kmeans_gpu
from curator_dask.video.frames.sampling import FrameRule
from tests.dedup.reference import random_unit
from tests.stages import builders
from tests.strict_cupy import DeviceArray, strict_cupy
from tests.trees import results

cloudpickle.register_pickle_by_value(sys.modules[__name__])

told: list[dict[str, Any]] = []


class OurLloyd:
    """Stands for `cuml.cluster.KMeans`."""

    def __init__(self, **options: Any) -> None:
        told.append(options)
        self.options = options

    def fit(self, X: Any) -> SimpleNamespace:
        host = X.get() if isinstance(X, DeviceArray) else X
        told[-1]["on_device"] = isinstance(X, DeviceArray)
        start = self.options["init"]
        done = kmeans_fit([host], len(start), init=start, max_iter=self.options["max_iter"], tol=self.options["tol"])
        return SimpleNamespace(cluster_centers_=done.centroids, n_iter_=done.n_iter)


def read_matrix(folder: Any, path: str, field: str, dimension: int, row_groups: Any = None) -> Any:
    with open_parquet(folder, path) as file:
        table = (
            file.read(columns=[field])
            if row_groups is None
            else file.read_row_groups(list(row_groups), columns=[field])
        )
    X, reasons = column_matrix(table[field], dimension)
    return sys.modules["cupy"].asarray(X), reasons


@pytest.fixture
def device_bytes() -> int:
    return 10**9


@pytest.fixture
def on_gpu(device_bytes, monkeypatch, context):
    """A worker in this process that claims a GPU with this many bytes."""
    assert context.cluster.client  # started while this machine still looks like what it is
    told.clear()
    cuml = ModuleType("cuml.cluster")
    cuml.KMeans = OurLloyd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuml.cluster", cuml)
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy())
    memory = WorkerMemory(device_bytes, device_bytes, 10**10)
    monkeypatch.setattr(kmeans_gpu, "worker_memory", lambda: memory)
    monkeypatch.setattr(vector_source, "read_matrix", read_matrix)
    monkeypatch.setattr(cluster_module, "resolve_device", lambda device: "cpu" if device == "cpu" else "gpu")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local) as client,
    ):
        yield RunContext(LazyCluster.of(client))


def write(folder: Path) -> Path:
    """Write two files of vectors with near copies, and with rows that cannot be clustered."""
    X = [row.tolist() for row in random_unit(600, 16, 0, copies=0.4, noise=1e-3)]
    X[5], X[17], X[300] = None, [0.0] * 16, [1.0, 2.0]
    for number in range(2):
        start, end = 300 * number, 300 * number + 300
        builders.write_vectors(folder / f"{number}.parquet", range(start, end), X[start:end])
    return folder


def dedup(source: Path, out: Path, context: RunContext) -> dict[str, str]:
    builders.score_vectors(source, out, context, 6)
    builders.identify_duplicates(out, context, eps=0.01)
    return results(out)


@pytest.mark.parametrize("device_bytes", [10**9, 20_000], ids=["large device", "small device"])
def test_cpu_and_gpu_write_the_same_files(tmp_path, context, on_gpu, device_bytes):
    source = write(tmp_path / "v")
    expected = dedup(source, tmp_path / "cpu", context)
    assert dedup(source, tmp_path / "gpu", on_gpu) == expected
    assert len(expected) > 10
    (options,) = told
    assert (options["n_clusters"], options["n_init"], options["init"].shape) == (6, 1, (6, 16))
    assert options["on_device"] == (device_bytes > 10**6)
    assert (options["device_buffer_samples"] > 0) != options["on_device"]
    assert np.load(tmp_path / "gpu" / "k" / "_kmeans_centroids.npy").shape == (6, 16)


@pytest.mark.parametrize(("value", "refused"), [("1", True), ("2", True), ("0", False), ("", False)])
def test_a_cupy_that_is_told_to_round_more_is_refused(monkeypatch, value, refused):
    monkeypatch.setattr(device_module, "why_no_gpu", lambda: None)
    monkeypatch.setenv("CUPY_TF32", value)
    with pytest.raises(DeviceError, match="CUPY_TF32 is set") if refused else contextlib.nullcontext():
        assert device_module.resolve_device("gpu") == "gpu"
    assert device_module.resolve_device("cpu") == "cpu"


class Heavy:
    """Stands for a model with weights: its vectors depend on its number type, and that depends on the device."""

    name, dimension, default_eps, light = "heavy", 3, 0.1, False
    frame_rule = FrameRule.spread(2, width=16, height=16)
    loaded: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, options: ModelOptions) -> None:
        on_device = options.device.startswith("cuda")
        self.dtype = options.dtype if options.dtype != "auto" else "bfloat16" if on_device else "float32"
        Heavy.loaded.append((options.device, self.dtype))

    def fingerprint(self) -> dict[str, Any]:
        return {"model": self.name, "dtype": self.dtype}

    def embed(self, clips: Any) -> list[Any]:
        return [np.float32([0.6, 0.8, 0.0]) if self.dtype == "float32" else np.float32([0.8, 0.6, 0.0]) for _ in clips]


class Light(Heavy):
    name, light = "light", True


@pytest.fixture
def models(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    for kind in (Heavy, Light):
        register_model(kind.name, kind)
    embed_spec.cached_model.cache_clear()
    Heavy.loaded.clear()
    yield
    embed_spec.cached_model.cache_clear()


@pytest.fixture
def gpu(on_gpu, monkeypatch) -> RunContext:
    """The worker of `on_gpu`, with a torch that finds its device."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return on_gpu


def made_with(folder: Path, name: str) -> str:
    return json.loads((folder / f"{name}_embd_parquet" / "_fingerprint.json").read_bytes())["dtype"]


def some_clips(source: Path, folder: Path, most: int) -> Path:
    folder.mkdir(exist_ok=True)
    for clip in sorted(source.iterdir())[:most]:
        shutil.copy(clip, folder / clip.name)
    return folder


@pytest.mark.usefixtures("models")
class TestWhereTheModelRuns:
    def test_on_the_workers_gpu_by_itself(self, few_videos, tmp_path, gpu, context):
        result = EmbedStage(str(few_videos), str(tmp_path), "heavy").run(context=gpu)
        assert result.counts["embeddings"] == result.counts["clips_in"] == result.num_run * 4 > 0
        assert Heavy.loaded == [("cpu", "float32"), ("cuda", "bfloat16")]  # here to know what it is, there to work
        assert made_with(tmp_path, "heavy") == "bfloat16"
        again = EmbedStage(str(few_videos), str(tmp_path), "heavy")
        assert again.identity()["model"]["dtype"] == "bfloat16"
        assert again.run(context=gpu).num_run == again.run(context=context).num_run == 0

    def test_a_folder_made_on_the_cpu_goes_on_as_it_was_made(self, few_videos, tmp_path, gpu):
        clips, out = some_clips(few_videos, tmp_path / "clips", 2), tmp_path / "out"
        first = EmbedStage(str(clips), str(out), "heavy", torch_device="cpu").run(context=gpu)
        some_clips(few_videos, clips, 4)
        second = EmbedStage(str(clips), str(out), "heavy").run(context=gpu)
        assert (first.counts["embeddings"], second.counts["embeddings"], second.num_run) == (2, 4, 1)
        assert Heavy.loaded[-1] == ("cuda", "float32")
        assert made_with(out, "heavy") == "float32"

    @pytest.mark.parametrize(("name", "asked", "expected"), [
        ("light", "auto", "cpu"), ("heavy", "cpu", "cpu"), ("heavy", "cuda:1", "cuda:1"), ("light", "cuda", "cuda"),
    ])  # fmt: skip
    def test_light_models_stay_and_what_is_asked_for_holds(self, few_videos, tmp_path, gpu, name, asked, expected):
        clips = some_clips(few_videos, tmp_path / "clips", 1)
        EmbedStage(str(clips), str(tmp_path), name, torch_device=asked).run(context=gpu)
        assert {device for device, _ in Heavy.loaded} == {expected}

    def test_on_cpu_workers(self, few_videos, tmp_path, context):
        stage = EmbedStage(str(few_videos), str(tmp_path), "heavy")
        settled, fingerprint = stage.settled_spec(context)
        assert (settled.model.options.device, fingerprint["dtype"]) == ("cpu", "float32")

    def test_a_torch_without_cuda_is_told_before_any_work(self, few_videos, tmp_path, on_gpu):
        told = r"the workers have GPUs, but torch .* cannot use them\. .* or use --torch-device cpu"
        with pytest.raises(DeviceError, match=told):
            EmbedStage(str(few_videos), str(tmp_path), "heavy").run(context=on_gpu)
        assert not list(tmp_path.rglob("*.parquet"))
        assert EmbedStage(str(few_videos), str(tmp_path), "heavy", torch_device="cpu").run(context=on_gpu).num_run == 1

    @pytest.mark.parametrize(("name", "device", "taps"), [
        ("light", "auto", True), ("light", "cpu", True), ("light", "cuda", False), ("heavy", "auto", False),
        ("heavy", "cpu", False),
    ])  # fmt: skip
    def test_beside_the_cut_go_light_models_on_the_cpu(self, tmp_path, name, device, taps):
        stage = EmbedStage(str(tmp_path), None, name, frames_from="source", torch_device=device)
        assert (stage.spec_beside_cut() is not None) is taps

    def test_splitting_takes_no_folder_for_a_model_of_other_workers(self, few_videos, tmp_path, gpu, context):
        """The workers that cut videos do not know which number type the GPU workers will use."""
        embed = EmbedStage(str(tmp_path), video_dir=str(few_videos), embedding_algorithm="heavy")
        SplitStage(str(few_videos), str(tmp_path), vectors=embed).run(context=context)
        assert embed.run(context=gpu).counts["clips_failed"] == 0
        assert made_with(tmp_path, "heavy") == "bfloat16"
