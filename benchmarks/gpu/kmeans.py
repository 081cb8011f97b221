"""k-means on one GPU: rows per second of the fit, and of the whole stage from Parquet files to clusters.

    python -m benchmarks.gpu.kmeans [--rows 1000000] [--dim 1536] [--clusters 1000] [--scratch DIR] [--fit-only]

Without --fit-only it runs the k-means and the pairwise stage. They write the vectors twice, so the disk of --scratch needs
about three times the size of the vectors (75 GB for 4 million x 1536). --fit-only writes no files: the vectors are made in
host memory, and only cuML's fit (once with the vectors on the device, once with the vectors in host memory) and the search
for the nearest centroid of each row are measured. Goal: 14,000 rows/s at 1536 dimensions, from Parquet files to clusters.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu.device import GIB, Peak, mixture_on_device, timed
from benchmarks.gpu.records import tell
from curator_dask import KMeansStage, PairwiseStage
from curator_dask.data.vectors import column_matrix, matrix_column
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.gpu_fit import GpuFit, fit_on_gpus

FILE_ROWS = 100_000
SAMPLE_ROWS = 2000
GOAL_ROWS_PER_S = 14_000
GOAL_DIM = 1536


class Rows:
    """Stands for a chunk of vectors; `fit_on_gpus` reads only its `X`."""

    def __init__(self, number: int, num_rows: int, dim: int, k: int) -> None:
        self.X = made(number, num_rows, dim, k)


def made(number: int, num_rows: int, dim: int, k: int) -> np.ndarray:
    return mixture_on_device(num_rows, dim, k, seed=number).get()


def sizes(num_rows: int) -> Iterator[tuple[int, int]]:
    for number, start in enumerate(range(0, num_rows, FILE_ROWS)):
        yield number, min(FILE_ROWS, num_rows - start)


def fit_only(cluster: LazyCluster, options: argparse.Namespace) -> None:
    client = cluster.client
    loaded = [client.submit(Rows, number, size, options.dim, options.clusters, pure=False)
              for number, size in sizes(options.rows)]  # fmt: skip
    start = client.submit(made, 0, options.clusters, options.dim, options.clusters).result()
    client.gather([client.submit(lambda rows: len(rows.X), one, pure=False) for one in loaded])
    for in_host_memory in (False, True):
        parameters = GpuFit(options.max_iter, 1e-4, 42, 32768, in_host_memory)
        where = "in host memory" if in_host_memory else "on the device"
        with Peak().watching() as peak:
            begun = time.perf_counter()
            C, n_iter = fit_on_gpus(client, loaded, start, parameters)
            seconds = time.perf_counter() - begun
        told = f"fit of {in_words(options)}, vectors {where}"
        tell(f"{told}: {seconds:.1f} s, {n_iter} iterations", options.rows * n_iter / seconds, "rows/s per iteration")
        tell(f"{told}: device memory, peak {peak}", peak.share, "of the device", at_most=1.0)
    rate, agrees = client.submit(label_rate, C, options.dim, options.clusters).result()
    tell(f"labels alone, {options.clusters} centres of cuML", rate, "rows/s", agrees=agrees)


def label_rate(C: np.ndarray, dim: int, k: int) -> tuple[float, bool]:
    """Rows per second of `assign` on a worker, and whether the labels of a sample are the CPU's."""
    import cupy

    X, centres = mixture_on_device(FILE_ROWS, dim, k, seed=1), cupy.asarray(C)
    labels = assign(X, centres)
    expected = assign(X[:SAMPLE_ROWS].get(), C)
    agrees = bool((labels[:SAMPLE_ROWS].get() == expected).all())
    return FILE_ROWS / timed(lambda: assign(X, centres)), agrees


def write_vectors(folder: Path, options: argparse.Namespace) -> None:
    folder.mkdir(parents=True)
    for number, size in sizes(options.rows):
        X = made(number, size, options.dim, options.clusters)
        ids = np.arange(number * FILE_ROWS, number * FILE_ROWS + size)
        # At most 1.5 GB per file, as other programs write them.
        table = pa.table({"id": ids, "embedding": matrix_column(X)})
        pq.write_table(table, folder / f"{number:05d}.parquet", compression="zstd", use_dictionary=["id"])


def whole_stage(cluster: LazyCluster, options: argparse.Namespace, scratch: Path) -> None:
    begun = time.perf_counter()
    write_vectors(scratch / "vectors", options)
    tell(f"making the files of {in_words(options)} (not part of the job)", time.perf_counter() - begun, "s")
    context = RunContext(cluster)
    stages = {
        "kmeans": KMeansStage(
            options.clusters, input_path=str(scratch / "vectors"), output_path=str(scratch / "k"),
            max_iter=options.max_iter, fit_data_fraction=options.fraction,
        ),
        "pairwise": PairwiseStage(input_path=str(scratch / "k"), output_path=str(scratch / "p")),
    }  # fmt: skip
    total = 0.0
    for name, stage in stages.items():
        with Peak().watching() as peak:
            seconds = stage.run(context=context).seconds
        total += seconds
        tell(
            f"stage {name}, {in_words(options)}: {seconds:.1f} s, device memory {peak}",
            options.rows / seconds,
            "rows/s",
        )
    goal = GOAL_ROWS_PER_S if options.dim >= GOAL_DIM else None
    tell(f"both stages, {in_words(options)}: {total:.1f} s", options.rows / total, "rows/s", at_least=goal)
    compare_a_cluster(scratch)


def compare_a_cluster(scratch: Path) -> None:
    """The scores of the first rows of one cluster, once more on the CPU."""
    cluster = sorted((scratch / "p").glob("cluster_*.parquet"))[0]
    number = cluster.stem.partition("_")[2]
    scores = pq.read_table(cluster).slice(0, SAMPLE_ROWS)
    rows = pq.read_table(
        scratch / "k" / f"centroid={number}" / "part-0.parquet", columns=["id", "embedding"], partitioning=None
    )
    place = {one: at for at, one in enumerate(rows["id"].to_pylist())}
    ranked = rows["embedding"].take([place[one] for one in scores["id"].to_pylist()])
    X, _ = column_matrix(ranked, len(ranked[0]))
    expected, _ = max_earlier_similarity(np.ascontiguousarray(X, dtype=np.float32))
    tell(f"scores of the first {len(X):,} rows of cluster {number}",
         agrees=scores["cosine_sim_score"].to_numpy().tobytes() == expected.tobytes())  # fmt: skip


def in_words(options: argparse.Namespace) -> str:
    size = 4.0 * options.rows * options.dim / GIB
    return f"{options.rows:,} x {options.dim} ({size:.1f} GiB), {options.clusters} clusters"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--max-iter", type=int, default=300)
    parser.add_argument("--fraction", type=float, default=None, help="fit_data_fraction of the stage")
    parser.add_argument("--scratch", type=Path, help="a folder with room for three times the vectors")
    parser.add_argument("--fit-only", action="store_true")
    options = parser.parse_args()
    with LazyCluster(ClusterSettings(device="gpu", dashboard=False)) as cluster:
        if options.fit_only:
            fit_only(cluster, options)
        else:
            with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
                whole_stage(cluster, options, Path(scratch))


if __name__ == "__main__":
    main()
