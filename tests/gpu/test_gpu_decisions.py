"""CPU and GPU decide alike: worked examples, blobs, and 200,000 rows of a mixture; and a whole job from video to shards."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.lloyd import kmeans_fit
from curator_dask.runtime.device import worker_memory
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.fit_watch import restart
from curator_dask.stages.kmeans.gpu_fit import GpuFit, fit_on_gpus
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, random_unit, unit
from tests.stages import builders

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1200)]


def mixture(num_rows: int, dim: int, k: int, seed: int, *, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around k directions that lie well apart, and the directions. Every tenth row is a near copy of another."""
    random = np.random.default_rng(seed)
    directions = unit(random.standard_normal((k, dim)))
    rows = directions[random.integers(0, k, num_rows)] + spread * random.standard_normal((num_rows, dim)) / np.sqrt(dim)
    copies = random.random(num_rows) < 0.1
    source = random.integers(0, num_rows, num_rows)
    rows[copies] = rows[source[copies]] + 0.01 * random.standard_normal((int(copies.sum()), dim)) / np.sqrt(dim)
    return unit(rows), directions


def write(folder: Path, X: np.ndarray, parts: int = 4) -> Path:
    for number, rows in enumerate(np.array_split(np.arange(len(X)), parts)):
        column = matrix_column(np.ascontiguousarray(X[rows], dtype=np.float32))
        builders.write_vectors(folder / f"{number}.parquet", rows, column)
    return folder


def decided(source: Path, out: Path, context: RunContext, k: int, eps: float, init="k-means||", which: str = "hard"):
    """``(cluster of every id, score of every id, removed ids)``."""
    builders.score_vectors(source, out, context, k, kmeans={"init": init}, pairwise={"which_to_keep": which})
    builders.identify_duplicates(out, context, eps=eps)
    labels, scores = {}, {}
    for file in (out / "k").glob("centroid=*/*.parquet"):
        cluster = int(file.parent.name.partition("=")[2])
        labels.update(dict.fromkeys(pq.read_table(file, columns=["id"], partitioning=None)["id"].to_pylist(), cluster))
    for file in (out / "p").glob("cluster_*.parquet"):
        table = pq.read_table(file)
        scores.update(zip(table["id"].to_pylist(), table["cosine_sim_score"].to_pylist(), strict=True))
    removed = set(pq.read_table(out / "d" / "duplicates.parquet")["id"].to_pylist())
    return labels, scores, removed


@pytest.mark.parametrize("which", ["hard", "easy"])
@pytest.mark.parametrize(("X", "eps"), [(EXAMPLE_1, 0.01), (EXAMPLE_2, 0.05)], ids=["example 1", "example 2"])
def test_worked_examples(tmp_path, context, on_gpu, X, eps, which):
    source = write(tmp_path / "v", X, parts=2)
    on_cpu = decided(source, tmp_path / "cpu", context, 1, eps, which=which)
    assert decided(source, tmp_path / "gpu", on_gpu, 1, eps, which=which)[2] == on_cpu[2]


@pytest.mark.parametrize(("which", "expected"), [("hard", 1471), ("easy", 1495)])
def test_blobs(tmp_path, on_gpu, which, expected):
    from sklearn.datasets import make_blobs

    X, _ = make_blobs(n_samples=[100, 200, 300, 400, 500], centers=None, n_features=3, random_state=42)
    assert len(decided(write(tmp_path / "v", X), tmp_path / "gpu", on_gpu, 5, 0.01, which=which)[2]) == expected


def test_200_thousand_rows(tmp_path, context, on_gpu):
    X, directions = mixture(200_000, 512, 200, 0)
    source, eps = write(tmp_path / "v", X), 0.05
    labels, scores, removed = decided(source, tmp_path / "cpu", context, 200, eps, init=directions)
    gpu_labels, gpu_scores, gpu_removed = decided(source, tmp_path / "gpu", on_gpu, 200, eps, init=directions)
    same = np.mean([labels[row] == gpu_labels[row] for row in labels])
    assert same >= 0.999
    near = [row for row, score in scores.items() if abs(score - (1 - eps)) < 1e-4]
    assert not near, "the data should have no ties at this eps"
    assert removed
    assert gpu_removed == removed
    assert max(abs(scores[row] - gpu_scores[row]) for row in scores if labels[row] == gpu_labels[row]) < 1e-5


class Rows:
    """Stands for a chunk of vectors; `fit_on_gpus` reads only its `X`."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X


@pytest.mark.parametrize("in_host_memory", [False, True], ids=["on the device", "in host memory"])
def test_cumls_fit_is_ours(cp, gpu_cluster, in_host_memory):
    X, directions = mixture(50_000, 128, 40, 1)
    start = unit(directions + 0.05 * random_unit(40, 128, 2))
    expected = kmeans_fit([X], 40, init=start)
    client = gpu_cluster.client
    loaded = client.scatter([Rows(part) for part in np.array_split(X, 5)], hash=False)
    C, n_iter = fit_on_gpus(client, loaded, start, GpuFit(300, 1e-4, 42, 32768, in_host_memory))
    np.testing.assert_allclose(C, expected.centroids, rtol=1e-3, atol=1e-4)
    assert abs(n_iter - expected.n_iter) <= 1
    assert np.mean(assign(X, C) == assign(X, expected.centroids)) >= 0.999


def test_memory_of_workers(gpu_cluster):
    for memory in gpu_cluster.client.run(worker_memory).values():
        assert 0 < memory.device_free <= memory.device_total


def test_a_worker_that_died_comes_back_with_its_device(cp, gpu_cluster):
    client = gpu_cluster.client
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    restart(client, workers)
    assert all(memory.device_free > 0 for memory in client.run(worker_memory).values())


def test_a_whole_job_from_video_to_shards(tmp_path, context, on_gpu, sample_videos):
    from curator_dask import SplitStage, Workflow

    def run(name: str, where: RunContext):
        return Workflow(SplitStage(str(sample_videos), str(tmp_path / name))).run(where).totals

    assert run("gpu", on_gpu) == run("cpu", context)
    kept = [(tmp_path / name / "duplicates" / "keep.txt").read_text() for name in ("cpu", "gpu")]
    assert kept[0] == kept[1]
    assert list((tmp_path / "gpu").rglob("*.tar"))
