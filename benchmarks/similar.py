"""``similar`` at many rows: the time of one search, and how often the search of near clusters finds the same as a full one.

Run: ``python -m benchmarks.similar``. It writes clusters of planted rows as the kmeans stage lays them out, on a local disk.
The rows lie in scenes of 50 around points of their own; the scenes are spread over the whole space, or in 200 subjects.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator_dask import similar_clips
from curator_dask.data.similar.coded_clusters import coded_batch, coded_parts
from curator_dask.data.tables import write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CENTROIDS
from curator_dask.runtime.state import StageState

SCENE_ROWS = 50
FIT_ROWS = 50_000
BLOCK = 65_536
BUCKETS = 17
"""Files of codes: as many as the k-means stage would write for a million rows of 512 numbers."""


DATA = {"scenes": (0.5, 0), "subjects": (0.5, 200), "loose": (1.0, 0)}
"""By name: the length of what a row differs by from its scene, and the number of subjects, 0 for scenes anywhere."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--scratch", type=Path, help="where the rows are written; default: the temporary folder")
    chosen = parser.parse_args()
    print(
        "| rows | data | median | 95 of 100 below | median processor time | all clusters | of the true top 10 found |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in chosen.data:
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
            X = planted_rows(chosen.rows, chosen.dimension, *DATA[name])
            ids = write_clusters(Path(scratch), X, chosen.clusters)
            print(measure(Path(scratch), X, ids, chosen.queries, name), flush=True)


def planted_rows(num_rows: int, dimension: int, noise: float, num_subjects: int) -> NDArray[np.float32]:
    """(N, D) unit rows. `noise`: the length of what a row differs by from its scene, whose own length is 1."""
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((-(-num_rows // SCENE_ROWS), dimension), np.float32)
    if num_subjects:
        scenes += (
            1.5
            * rng.standard_normal((num_subjects, dimension), np.float32)[rng.integers(num_subjects, size=len(scenes))]
        )
    scenes /= np.linalg.norm(scenes, axis=1, keepdims=True)
    X = np.repeat(scenes, SCENE_ROWS, axis=0)[:num_rows]
    for start in range(0, num_rows, BLOCK):
        part = X[start : start + BLOCK]
        part += rng.standard_normal(part.shape, np.float32) * np.float32(noise / np.sqrt(dimension))
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return X


def write_clusters(out: Path, X: NDArray[np.float32], num_clusters: int) -> NDArray[np.str_]:
    """Write ``kmeans/`` below `out`; returns the ids of the rows."""
    rng = np.random.default_rng(1)
    sample = X[rng.choice(len(X), min(FIT_ROWS, len(X)), replace=False)]
    C = sample[:num_clusters]
    for _ in range(5):
        C = means(sample, nearest(sample, C), C)
    labels = nearest(X, C)
    ids = np.array([str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(len(X))])
    folder = Folder(str(out / "kmeans"))
    coded: dict[int, list[Any]] = {}
    for k in range(len(C)):
        rows = np.flatnonzero(labels == k)
        rows = rows[np.argsort(ids[rows])]
        l2 = np.linalg.norm(X[rows] - C[k], axis=1)
        table = {"id": ids[rows], "embedding": matrix_column(X[rows]), "l2_dist_to_cent": l2}
        write_parquet(folder, f"centroid={k}/part-0.parquet", pa.table(table), vectors=["embedding"])
        coded.setdefault(k % BUCKETS, []).append((k, coded_batch(pa.chunked_array([ids[rows]]), X[rows])))
    state = StageState(folder, "kmeans")
    for bucket, clusters in coded.items():
        folder.write_parts(state.beside_marker(f"bucket-{bucket:05d}"), coded_parts(clusters))
    with (out / "kmeans" / CENTROIDS).open("wb") as file:
        np.save(file, C)
    return ids


def nearest(X: NDArray[np.float32], C: NDArray[np.float32]) -> NDArray[np.int64]:
    half = (C * C).sum(axis=1) / 2
    parts = [np.argmax(X[start : start + BLOCK] @ C.T - half, axis=1) for start in range(0, len(X), BLOCK)]
    return np.concatenate(parts)


def means(X: NDArray[np.float32], labels: NDArray[np.int64], C: NDArray[np.float32]) -> NDArray[np.float32]:
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    moved = C.copy()
    moved[present] = np.add.reduceat(X[order], starts, axis=0) / np.diff([*starts, len(X)])[:, None]
    return moved


def measure(out: Path, X: NDArray[np.float32], ids: NDArray[np.str_], num_queries: int, name: str) -> str:
    """One line of the table."""
    queries = np.random.default_rng(2).choice(len(X), num_queries, replace=False)
    true = true_top(X, queries, 10)
    seconds, processor, found = [], [], 0
    for row, expected in zip(queries, true, strict=True):
        start, start_cpu = time.perf_counter(), time.process_time()
        got = {clip for clip, _ in similar_clips(str(out), str(ids[row]), 10)}
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_cpu)
        found += len(got & set(ids[expected].tolist()))
    start = time.perf_counter()
    similar_clips(str(out), str(ids[queries[0]]), 10, exact=True)
    full_s, late_s = time.perf_counter() - start, float(np.quantile(seconds, 0.95))
    times = (statistics.median(seconds), late_s, statistics.median(processor), full_s)
    told = " | ".join(f"{one:.2f} s" for one in times)
    return f"| {len(X):,} x {X.shape[1]} | {name} | {told} | {found / (10 * num_queries):.1%} |"


def true_top(X: NDArray[np.float32], queries: NDArray[np.int64], top: int) -> NDArray[np.int64]:
    """(Q, top) the rows most similar to each query row, from all products."""
    scores = np.concatenate([X[start : start + BLOCK] @ X[queries].T for start in range(0, len(X), BLOCK)])
    scores[queries, np.arange(len(queries))] = -2
    return np.argpartition(scores, -top, axis=0)[-top:].T


if __name__ == "__main__":
    main()
