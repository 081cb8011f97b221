"""Similarity within a cluster compared with torch and with the most the machine can do; hard rows; uneven clusters.

    python -m benchmarks.pairwise [--rows 20000] [--dim 512] [--threads 1 2] [--rounds 3]
    python -m benchmarks.pairwise --hard [--rows 8192]
    python -m benchmarks.pairwise --skew [--rows 300000] [--workers 2] [--cut-only]

The first command compares our arithmetic with two others:

* the torch peer does what the original workflow does: for each batch of 1,024 rows, the product with all rows, its upper
  triangle, and the maximum;
* the limit multiplies half the matrix in float32, in blocks of 2,048 x 4,096, and does nothing else. With several threads
  it is the faster of two ways: BLAS uses all threads, or each thread calls a BLAS of one thread.

All run one after the other in every round, and each round gives its own ratios of wall and of CPU seconds.

``--hard`` times rows whose cosines float32 cannot tell apart, so that pairs are measured again in float64. ``--skew`` times
the whole stage where one cluster holds 60 % of the rows, with that cluster cut into parts and in one piece.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.pairwise import cut_clusters
from curator_dask.stages.pairwise.stage import PairwiseStage

BATCH = 1024
LIMIT_SHAPE = 2048, 4096
NEAR_PEER, NEAR_LIMIT = 3.0, 0.85


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def groups(num_rows: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit rows in groups of about twenty, like the clips of a real cluster."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, num_rows // 20), dim))
    noise = 0.3 * random.standard_normal((num_rows, dim))
    return unit(centres[random.integers(0, len(centres), num_rows)] + noise)


def peer(X: np.ndarray) -> None:
    import torch

    rows = torch.from_numpy(X)
    for start in range(0, len(rows), BATCH):
        products = rows @ rows[start : start + BATCH].T
        torch.max(torch.triu(products, diagonal=1 - start), dim=0)


def half_products(X: np.ndarray, *, blas_threads: bool) -> Callable[[], None]:
    """Work that multiplies as many pairs of rows as there are, in float32 and in large blocks, and does nothing else."""
    num_rows, num_columns = (min(side, len(X)) for side in LIMIT_SHAPE)
    left, right = X[:num_rows], X[-num_columns:].T
    count = max(1, round(len(X) ** 2 / 2 / (num_rows * num_columns)))

    def work(numbers: Iterator[int]) -> None:
        out = np.empty((num_rows, num_columns), np.float32)
        for _ in numbers:
            np.matmul(left, right, out=out)

    return lambda: work(iter(range(count))) if blas_threads else over_blocks(work, range(count))


def timed(work: Callable[[], object]) -> np.ndarray:
    """Wall and CPU seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def engine(options: argparse.Namespace) -> None:
    import torch

    X = groups(options.rows, options.dim)
    print(f"{options.rows} rows of {options.dim}, {machine()}\n")
    print(f"{'threads':8}{'':12}{'wall s':>9}{'CPU s':>9}")
    for num_threads in options.threads:
        torch.set_num_threads(num_threads)
        with threadpool_limits(num_threads):
            rounds = [engine_round(X, num_threads) for _ in range(options.rounds)]
        for name in rounds[0]:
            wall, cpu = (statistics.median(one[name][i] for one in rounds) for i in (0, 1))
            print(f"{num_threads:<8}{name:12}{wall:>9.2f}{cpu:>9.2f}")
        for against, goal in (("torch peer", NEAR_PEER), ("limit", NEAR_LIMIT)):
            wall, cpu = (statistics.median(one[against][i] / one["ours"][i] for one in rounds) for i in (0, 1))
            print(f"{num_threads:<8}{against} / ours: wall {wall:.2f}, CPU {cpu:.2f} (goal {goal})")


def engine_round(X: np.ndarray, num_threads: int) -> dict[str, np.ndarray]:
    sides = {"ours": lambda: max_earlier_similarity(X), "limit": half_products(X, blas_threads=False)}
    if num_threads > 1:
        sides["limit, BLAS"] = half_products(X, blas_threads=True)
    sides["torch peer"] = lambda: peer(X)
    found = {name: timed(work) for name, work in sides.items()}
    if num_threads > 1:
        found["limit"] = np.minimum(found["limit"], found["limit, BLAS"])
    return found


def hard(options: argparse.Namespace) -> None:
    """Print what rows that are hard to tell apart cost: their pairs are measured again in float64."""
    random = np.random.default_rng(0)
    n, dim = options.rows, options.dim
    centre, noise = unit(random.standard_normal((1, dim))), random.standard_normal((n, dim))
    equal = np.repeat(centre, n, axis=0)
    cases = {"random": unit(noise), "all equal": equal}
    cases["all but every 100th equal"] = np.where((np.arange(n) % 100 == 0)[:, None], cases["random"], equal)
    cases |= {f"one centre, noise {sd:g}": unit(centre + sd * noise) for sd in (1e-7, 1e-5, 1e-4, 3e-4, 1e-3, 1e-2)}
    cases |= {f"a walk of steps {sd:g}": unit(centre + np.cumsum(sd * noise, axis=0)) for sd in (1e-4, 1e-3)}
    centres = unit(random.standard_normal((100, dim)))
    cases["100 centres, noise 1e-5"] = unit(centres[np.arange(n) % 100] + 1e-5 * noise)
    print(f"{n} rows of {dim}, 1 thread, {machine()}\n\n{'':30}{'CPU s':>8}{'x random':>10}")
    with threadpool_limits(1):
        rounds = [
            {name: timed(lambda X=X: max_earlier_similarity(X))[1] for name, X in cases.items()}
            for _ in range(options.rounds)
        ]
    for name in cases:
        seconds = statistics.median(one[name] for one in rounds)
        ratio = statistics.median(one[name] / one["random"] for one in rounds)
        print(f"{name:30}{seconds:>8.2f}{ratio:>10.2f}")


def skew(options: argparse.Namespace) -> None:
    """Time clusters of uneven sizes (60 % of the rows in one, the rest in clusters of 400 and of 10), cut and uncut."""
    settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
    with tempfile.TemporaryDirectory() as scratch:
        sizes = [options.rows * 6 // 10, *[400] * (options.rows * 3 // 4000), *[10] * (options.rows // 100)]
        write_clusters(Path(scratch, "k"), sizes, options.dim)
        products_s = sum(size * size for size in sizes) * options.dim / gemm_rate()
        print(f"{sum(sizes)} rows of {options.dim}, {sizes[0]} of them in one of {len(sizes)} clusters; {machine()}")
        print(f"the products alone: {products_s:.1f} CPU s\n")
        print(f"{'':8}{'wall s':>9}{'CPU s':>9}{'peak RSS MB':>13}{'largest worker':>16}")
        sides = {"cut": cut_clusters.CUT_ROWS} if options.cut_only else {"cut": cut_clusters.CUT_ROWS, "uncut": 10**9}
        tables = []
        for _ in range(options.rounds):
            for name, cut_rows in sides.items():
                tables.append(skew_run(Path(scratch), name, cut_rows, settings))
        print(f"\nsame bytes: {all(table == tables[0] for table in tables)}")


def skew_run(scratch: Path, name: str, cut_rows: int, settings: ClusterSettings) -> dict[str, bytes]:
    """Run the stage on new workers and print the figures; returns the bytes of the tables."""
    shutil.rmtree(scratch / "out", ignore_errors=True)
    os.sync()  # or the first side would wait for the disk to take what was written before
    cut_clusters.CUT_ROWS = cut_rows  # read where the units are planned, which is here
    with LazyCluster(settings) as cluster:
        workers = list(cluster.client.run(os.getpid).values())
        before, start = cpu_s(workers), time.monotonic()
        with memory_of(workers) as peak:
            stage = PairwiseStage(input_path=f"{scratch}/k", output_path=f"{scratch}/out")
            result = stage.run(context=RunContext(cluster))
        wall, cpu = time.monotonic() - start, cpu_s(workers) - before
        assert result.counts["clusters_failed"] == 0, result.failures
        assert sorted(cluster.client.run(os.getpid).values()) == sorted(workers), "a worker was restarted"
    print(f"{name:8}{wall:>9.1f}{cpu:>9.1f}{peak[0] / 1e6:>13.0f}{peak[1] / 1e6:>16.0f}", flush=True)
    return {path.name: path.read_bytes() for path in (scratch / "out").glob("*.parquet")}


def write_clusters(folder: Path, sizes: list[int], dim: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curator_dask.data.vectors import matrix_column

    for cluster, size in enumerate(sizes):
        target = folder / f"centroid={cluster}"
        target.mkdir(parents=True)
        ids = [f"{cluster:05d}-{row:012d}" for row in range(size)]
        distance = np.random.default_rng(cluster).random(size, dtype=np.float32)
        vectors = matrix_column(groups(size, dim, cluster))
        table = pa.table({"id": ids, "embedding": vectors, "cosine_dist_to_cent": distance})
        pq.write_table(
            table, target / "part-0.parquet", compression="zstd", use_dictionary=["id"], row_group_size=65_536
        )


def gemm_rate() -> float:
    """Multiplications and additions per CPU second, one thread."""
    X = groups(8192, 512)
    with threadpool_limits(1):
        return 8192 * 8192 * 512 / min(timed(half_products(X, blas_threads=True))[1] for _ in range(3))


def cpu_s(pids: list[int]) -> float:
    import psutil

    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


@contextmanager
def memory_of(pids: list[int]) -> Iterator[list[int]]:
    """The highest sum of the processes' resident memory, and the highest of one of them, in bytes."""
    import psutil

    peak, stop = [0, 0], threading.Event()
    processes = [psutil.Process(pid) for pid in pids]

    def watch() -> None:
        while not stop.wait(0.05):
            now = [process.memory_info().rss for process in processes]
            peak[:] = max(peak[0], sum(now)), max(peak[1], *now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def machine() -> str:
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.machine()}, {os.cpu_count()} cores, {load}, NumPy {np.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="20,000; with --hard 8,192; with --skew 100,000")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cut-only", action="store_true", help="with --skew: leave the uncut side out")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--hard", action="store_true")
    what.add_argument("--skew", action="store_true")
    options = parser.parse_args()
    options.rows = options.rows or (100_000 if options.skew else 8192 if options.hard else 20_000)
    (skew if options.skew else hard if options.hard else engine)(options)


if __name__ == "__main__":
    main()
