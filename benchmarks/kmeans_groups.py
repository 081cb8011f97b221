"""Assignment to many centroids by their nearest groups, beside the comparison with all and the bare matrix product.

    python -m benchmarks.kmeans_groups [--rows 100000] [--dim 256] [--clusters 4096 8192 16384] [--kinds nested decaying]
    python -m benchmarks.kmeans_groups --stage [--rows 100000] [--dim 128] [--clusters 8192]

The centroids are rows, moved once to the means of the rows that groups give them. Rows of the kind ``nested`` lie around
20,000 directions, which lie around 500; those of ``decaying`` around 5,000 of uneven numbers, and their numbers fall as those of
embeddings after a rotation to their axes do; ``flat`` ones lie around 3,000 random directions. One thread; CPU seconds. Recall
and inertia are those of all rows; what the stage would measure on 4,096 rows stands beside them.

With ``--stage`` the whole stage runs on 2 workers, from vectors in Parquet to clusters in Parquet, by groups and then with
``exact_assignment``. Its inertia, the mean squared distance to the centroid, is that of all rows.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.kmeans import product, timed
from benchmarks.whole_dedup import Watch
from curator_dask.data.tables import write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grouped import assign_in_groups, choose_search, group_centres
from curator_dask.dedup.kmeans.lloyd import labelled_partial, new_centres
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.fit import LEAST_RECALL, ROWS_TRIED
from curator_dask.stages.kmeans.held import LOOKED_AT
from curator_dask.stages.kmeans.stage import KMeansStage

Rows = NDArray[np.float32]
ROWS_PER_FILE = 20_000
MOST_ITERATIONS = 6


def unit(X: NDArray[np.float64] | Rows) -> Rows:
    return np.float32(X / np.linalg.norm(X, axis=1, keepdims=True))


def nested(num_rows: int, dim: int) -> Rows:
    random = np.random.default_rng(0)
    wide = unit(random.standard_normal((500, dim), np.float32))
    narrow = unit(
        wide[random.integers(500, size=20_000)] + 0.9 * unit(random.standard_normal((20_000, dim), np.float32))
    )
    return unit(
        narrow[random.integers(20_000, size=num_rows)] + 0.6 * unit(random.standard_normal((num_rows, dim), np.float32))
    )


def decaying(num_rows: int, dim: int) -> Rows:
    random = np.random.default_rng(0)
    strength = np.float32((np.arange(dim) + 1.0) ** -0.7)
    places = random.standard_normal((5000, dim), np.float32) * strength
    chosen = random.choice(5000, size=num_rows, p=random.dirichlet(np.full(5000, 0.5)))
    return unit(places[chosen] + 0.5 * random.standard_normal((num_rows, dim), np.float32) * strength)


def flat(num_rows: int, dim: int) -> Rows:
    random = np.random.default_rng(0)
    places = unit(random.standard_normal((3000, dim), np.float32))
    return unit(
        0.7 * places[random.integers(3000, size=num_rows)] + unit(random.standard_normal((num_rows, dim), np.float32))
    )


KINDS = {"nested": nested, "decaying": decaying, "flat": flat}


def inertia(X: Rows, C: Rows, labels: NDArray[np.int32]) -> float:
    return float((centroid_distances(X, C, labels)[0].astype(np.float64) ** 2).mean())


def compare(kind: str, X: Rows, k: int) -> str:
    C = X[:k].copy()
    C = new_centres(labelled_partial(X, assign_in_groups(X, group_centres(C), LOOKED_AT), k), C)
    (_, raw_s), _ = timed(lambda: product(X, C, np.empty((256, k), np.float32)))
    (_, exact_s), exact = timed(lambda: assign(X, C))
    tried = X[np.random.default_rng(1).permutation(len(X))[:ROWS_TRIED]]
    (_, search_s), search = timed(lambda: choose_search(tried, C, LEAST_RECALL))
    begin = f"| {kind} | {k:,} | {raw_s:.1f} | {exact_s:.1f} |"
    if search is None:
        return f"{begin} as all | | {search_s:.1f} | | | |"
    (_, groups_s), labels = timed(lambda: assign_in_groups(X, group_centres(C), search.looked_at))
    more = inertia(X, C, labels) / inertia(X, C, exact) - 1
    return (
        f"{begin} {groups_s:.1f} | {groups_s / exact_s:.2f} | {search_s:.1f} | {search.looked_at} of {search.groups} "
        f"| {search.recall:.2%} | {(labels == exact).mean():.2%} | {more:+.2%} |"
    )


def write_vectors(folder: Path, X: Rows) -> None:
    folder.mkdir()
    for start in range(0, len(X), ROWS_PER_FILE):
        part = X[start : start + ROWS_PER_FILE]
        ids = [f"clip-{row:08d}" for row in range(start, start + len(part))]
        table = pa.table({"id": ids, "embedding": matrix_column(part)})
        write_parquet(Folder(str(folder)), f"part-{start:08d}.parquet", table, vectors=["embedding"])


def run_stage(scratch: Path, k: int, *, exact: bool) -> str:
    """A line of the table: the stage by groups or exactly, in new workers."""
    output = scratch / f"{k}-{'exact' if exact else 'groups'}"
    stage = KMeansStage(
        k,
        input_path=str(scratch / "vectors"),
        output_path=str(output),
        max_iter=MOST_ITERATIONS,
        exact_assignment=exact,
    )
    watch = Watch(str(scratch))
    with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster:
        assert cluster.client
        before_s, started = watch.cpu_s(), time.perf_counter()
        stage.run(context=RunContext(cluster))
        wall_s, cpu_s = time.perf_counter() - started, watch.cpu_s() - before_s
    fit = StageState(Folder(str(output)), "kmeans").summary()["fit"]
    search = fit.get("search")
    how = f"{search['looked_at']} of {search['groups']} groups, {search['recall']:.2%}" if search else "all"
    return f"| {k:,} | {how} | {fit['n_iter']} | {squared_distance(output):.4f} | {wall_s:.1f} / {cpu_s:.1f} |"


def squared_distance(output: Path) -> float:
    """The mean squared distance of all rows to their centroids, as the stage wrote them."""
    files = sorted(output.glob("centroid=*/*.parquet"))
    l2 = np.concatenate(
        [
            pq.read_table(file, columns=["l2_dist_to_cent"], partitioning=None)["l2_dist_to_cent"].to_numpy()
            for file in files
        ]
    )
    return float((l2.astype(np.float64) ** 2).mean())


def run_stages(kind: str, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        write_vectors(Path(scratch, "vectors"), KINDS[kind](options.rows, options.dim))
        for k in options.clusters:
            for exact in (False, True):
                print(f"| {kind} {run_stage(Path(scratch), k, exact=exact)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clusters", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["nested", "decaying"])
    parser.add_argument("--stage", action="store_true", help="run the whole stage, by groups and exactly")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.rows:,} x {options.dim}\n")
    if options.stage:
        print(
            "| rows | clusters | compared with | iterations | squared distance | wall / CPU s |\n|---|---|---|---|---|---|"
        )
        for kind in options.kinds:
            run_stages(kind, options)
        return
    print(
        "| rows | clusters | product, CPU s | all | groups | of all | choosing | looked at | recall, tried | recall | more |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with threadpool_limits(1):
        for kind in options.kinds:
            X = KINDS[kind](options.rows, options.dim)
            for k in options.clusters:
                print(compare(kind, X, k), flush=True)


if __name__ == "__main__":
    main()
