"""The whole deduplication of vectors in Parquet files: how time and memory grow with the number of rows.

    python -m benchmarks.whole_dedup [--rows 100000 300000 1000000] [--dim 512] [--clusters 1000] [--iterations 20] [--peer]
        [--vectors FOLDER]

It runs k-means, pairwise and identify as users do, with new workers for every size; the number of clusters stays the same.
Every fifth row is a near copy of another one.

* Memory is the resident memory of this process and of all processes that it started, measured five times per second;
  the table shows the highest sum. Memory that processes share counts more than once.
* Disk is the most that the stages fill at any time, without the vectors that they read.
* "rows x rows per cluster" says how much more work there is within clusters than at the first size. The time must not
  grow faster than that.
* "start" is Python, the imports and the workers, which a single command pays once.
* With `--peer`, `benchmarks.forty_lines` does the same job on the same files, before our stages; its line comes below ours.
  `--rounds` repeats both, so that each round has its ratio. On a busy machine compare the CPU seconds: wall times then say
  who ran beside. What this program itself uses to look at memory is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.kmeans import mixture
from curator_dask.data.tables import write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext, Stage
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.stage import PairwiseStage

MEMORY_GOAL_GB = 6.0
ROWS_PER_FILE = 20_000
COPIES = 5
PLACES = 3000
NEAR = 0.1
"""Length of the noise that makes a copy differ from its original: their cosine is about .995."""
EPS = 0.01


def _started_s() -> float:
    """When this process started, in seconds since the machine did. `psutil` tells it from a clock of whole seconds."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


STARTED_WALL_S = time.clock_gettime(time.CLOCK_BOOTTIME) - _started_s()
"""What Python and the imports took; the peer's time holds its own."""
STARTED_CPU_S = time.process_time()


class Watch:
    """Measures this process and its children: their highest memory, CPU seconds so far, and the disk that they fill."""

    def __init__(self, folder: str) -> None:
        self.peak_bytes = self.peak_client = self.peak_worker = self.peak_disk = 0
        self._folder = folder
        self._used_before = shutil.disk_usage(folder).used
        self._gone: dict[int, float] = {}
        self._looking_s = 0.0
        self._stop = threading.Event()

    def cpu_s(self) -> float:
        for process in self._family():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self._gone[process.pid] = times.user + times.system
        return sum(self._gone.values()) - self._looking_s

    @contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            resident = [_resident(process) for process in self._family()]
            self.peak_bytes = max(self.peak_bytes, sum(resident))
            self.peak_client = max(self.peak_client, resident[0])
            self.peak_worker = max(self.peak_worker, *resident[1:], 0)
            self.peak_disk = max(self.peak_disk, shutil.disk_usage(self._folder).used - self._used_before)
            self._looking_s = time.thread_time()

    @staticmethod
    def _family() -> list[psutil.Process]:
        me = psutil.Process()
        return [me, *me.children(recursive=True)]


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def write_vectors(folder: Path, num_rows: int, dim: int) -> None:
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, num_rows, ROWS_PER_FILE)):
        X = mixture(min(ROWS_PER_FILE, num_rows - start), dim, PLACES, seed=0 if number == 0 else number)
        random = np.random.default_rng(number)
        copies = len(X) // COPIES
        X[:copies] = X[copies : 2 * copies] + random.standard_normal((copies, dim), np.float32) * np.float32(
            NEAR / dim**0.5
        )
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        ids = [f"clip-{row:08d}" for row in range(start, start + len(X))]
        table = pa.table({"id": ids, "embedding": matrix_column(X)})
        write_parquet(Folder(str(folder)), f"part-{number:05d}.parquet", table, vectors=["embedding"])


def vectors_of(num_rows: int, options: argparse.Namespace, scratch: Path) -> Path:
    """The folder of the vectors: made in the scratch folder, or kept from run to run."""
    kept = options.vectors and Path(options.vectors, f"{num_rows}x{options.dim}")
    folder = kept or Path(scratch, "vectors")
    if not folder.exists():
        making = folder.with_name(f"{folder.name}-unfinished")
        shutil.rmtree(making, ignore_errors=True)
        write_vectors(making, num_rows, options.dim)
        making.rename(folder)
    return folder


def stages(scratch: Path, vectors: Path, options: argparse.Namespace) -> list[Stage]:
    pairwise = PairwiseStage(input_path=f"{scratch}/k", output_path=f"{scratch}/pairs")
    between = [CrossClusterStage.after(pairwise, f"{scratch}/across", EPS)] if options.cross_cluster else []
    return [
        KMeansStage(
            options.clusters,
            input_path=str(vectors),
            output_path=f"{scratch}/k",
            max_iter=options.iterations,
            fit_data_fraction=options.fit_data_fraction,
        ),
        pairwise,
        *between,
        IdentifyDuplicatesStage(
            f"{scratch}/{'across' if between else 'pairs'}",
            f"{scratch}/k",
            output_path=f"{scratch}/duplicates",
            eps=EPS,
        ),
    ]


def run_peer(vectors: Path, options: argparse.Namespace) -> dict[str, float]:
    """The figures of `benchmarks.forty_lines` in a process of its own, with a thread per worker of ours."""
    command = [sys.executable, "-m", "benchmarks.forty_lines", str(vectors), "--clusters", str(options.clusters)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.workers))
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--eps", str(EPS)], env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return {**figures, "all wall": time.perf_counter() - start}


def one_size(num_rows: int, options: argparse.Namespace) -> dict[str, Any]:
    settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
    figures: dict[str, Any] = {"rows": num_rows}
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        vectors = vectors_of(num_rows, options, Path(folder))
        if options.peer:
            figures["peer"] = run_peer(vectors, options)
        watch, start, before = Watch(folder), time.perf_counter(), time.process_time()
        with LazyCluster(settings) as cluster, watch.looking():
            context = RunContext(cluster)
            _ = cluster.client
            figures["start wall"] = STARTED_WALL_S + time.perf_counter() - start
            figures["start cpu"] = STARTED_CPU_S + watch.cpu_s() - before
            for stage in stages(Path(folder), vectors, options):
                start, before = time.perf_counter(), watch.cpu_s()
                result = stage.run(context=context)
                figures[f"{stage.name} wall"] = time.perf_counter() - start
                figures[f"{stage.name} cpu"] = watch.cpu_s() - before
                assert not result.failures, result.failures[:3]
            figures["removed"] = result.counts["removed"]
    figures.update(
        total=watch.peak_bytes / 1e9, client=watch.peak_client / 1e9, worker=watch.peak_worker / 1e9,
        disk=watch.peak_disk / 1e9, load=os.getloadavg()[0],
    )  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fit-data-fraction", type=float, help="that of the k-means stage; 1: fit on all rows")
    parser.add_argument("--peer", action="store_true", help="also run the forty lines; needs the extra bench")
    parser.add_argument("--rounds", type=int, default=1, help="how often each size is run")
    parser.add_argument("--cross-cluster", action="store_true", help=f"with pairs across clusters, at eps {EPS}")
    parser.add_argument("--scratch", help="a folder with room for three times the vectors")
    parser.add_argument("--vectors", help="a folder that keeps the made-up vectors of each size for the next run")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {options.workers} workers, {options.dim} numbers per row, ",
        end="",
    )
    print(f"{options.clusters} clusters, at most {options.iterations} iterations\n", flush=True)
    first: dict[str, Any] = {}
    for num_rows in [rows for rows in options.rows for _ in range(options.rounds)]:
        figures = one_size(num_rows, options)
        if not first:
            first = figures
            names = [name.removesuffix(" wall") for name in figures if name.endswith(" wall")]
            print(f"| rows | removed | {' | '.join(f'{name} wall / CPU s' for name in names)} | all, wall / CPU s "
                  "| growth of CPU time | rows x rows per cluster | GB: memory, client, top worker, disk | load |")  # fmt: skip
            print("|" + "---|" * (len(names) + 7))
        report(figures, first, names)


def report(figures: dict[str, Any], first: dict[str, Any], names: list[str]) -> None:
    def total(of: dict[str, Any], kind: str) -> float:
        return float(sum(of[f"{name} {kind}"] for name in names))

    cells = [f"{figures[f'{name} wall']:.1f} / {figures[f'{name} cpu']:.1f}" for name in names]
    print(
        f"| {figures['rows']:,} | {figures['removed']:,} | {' | '.join(cells)} "
        f"| {total(figures, 'wall'):.1f} / {total(figures, 'cpu'):.1f} | {total(figures, 'cpu') / total(first, 'cpu'):.1f} "
        f"| {(figures['rows'] / first['rows']) ** 2:.1f} | {figures['total']:.2f} / {figures['client']:.2f} / "
        f"{figures['worker']:.2f} / {figures['disk']:.1f} | {figures['load']:.1f} |",
        flush=True,
    )
    if peer := figures.get("peer"):
        parts = ", ".join(
            f"{part} {peer[f'{part} wall']:.1f} / {peer[f'{part} cpu']:.1f}"
            for part in ("read", "fit", "assign", "pairs")
        )
        ratios = [total(figures, kind) / peer[f"all {kind}"] for kind in ("wall", "cpu")]
        print(
            f"\nthe forty lines, wall / CPU s: {parts}, all {peer['all wall']:.1f} / {peer['all cpu']:.1f}; removed "
            f"{peer['removed']:,}; {peer['memory']:.2f} GB; ours / theirs: wall {ratios[0]:.2f}, CPU {ratios[1]:.2f}\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
