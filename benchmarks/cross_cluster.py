"""The share of all near pairs that are found within clusters and between clusters, and what finding them costs.

    python -m benchmarks.cross_cluster [--rows 50000] [--dim 512] [--clusters 50] [--rounds 3] [--budget 1.0] [--whole]
    python -m benchmarks.cross_cluster --vectors clips.parquet [--video-dir DIR] [--clusters 56]

The rows are simulated: unit rows with planted twins. The cosine of a twin and its original is drawn evenly between
1 − the largest eps and 1. There are three data sets:

* ``directions``: random directions, so every cluster has many rows near a border;
* ``clouds``: a few round clouds, far fewer than clusters, so k-means cuts each cloud to pieces;
* ``clips``: films of very different lengths. Each film is a walk from scene to scene in small steps and a few large
  ones, mostly along the first dimensions.

A brute-force comparison of all pairs says which rows have an earlier row within eps. *decided* is the share of these rows
that get a score within eps. *best* is the share that get the score of their most similar earlier row.

Time is the CPU time of the arithmetic, without ranking, reading and writing. Each round times the comparisons within
clusters, then finding the border rows and comparing them with other clusters; the ratio is (within + across) / within.

With --vectors the rows are vectors of real clips from that Parquet file. If there is no such file, the benchmark makes it
first: clips of 2 s at every half second of the videos, and of edited copies of them, embedded by the default model. Then
it also times the whole deduplication (k-means, pairwise, identify, on 2 workers) with and without the cross-cluster
stage. With --whole it times only this, on the simulated data.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.near_duplicates import REAL
from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.cross_cluster.aim import DEFAULT_BUDGET
from curator_dask.dedup.cross_cluster.borders import find_borders
from curator_dask.dedup.cross_cluster.centroids import prepare_centroids
from curator_dask.dedup.cross_cluster.scores import ComparedRows, score_cross_cluster
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.lloyd import lloyd_partial, new_centres
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.models.base import EmbeddingModel
from curator_dask.models.registry import DEFAULT_MODEL, load_model
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext, Stage
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.stage import PairwiseStage
from curator_dask.video.edits import EDITS, Edit, write_edit
from curator_dask.video.frames.read import read_source_frames
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import Span

Rows = NDArray[np.float32]


def unit(X: Rows) -> Rows:
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def at_cosine(random: np.random.Generator, X: Rows, cosine: NDArray[np.float64]) -> Rows:
    """A row at the given cosine from each row, in a random direction."""
    away = random.standard_normal(X.shape, dtype=np.float32)
    away -= (away * X).sum(axis=1, keepdims=True) * X
    along = cosine[:, None].astype(np.float32)
    return unit(along * X + np.sqrt(1 - along * along) * unit(away))


def with_twins(random: np.random.Generator, X: Rows, share: float, eps: float) -> Rows:
    """Replace the last rows by twins of other rows, and shuffle all rows."""
    count = int(len(X) * share)
    source = random.permutation(len(X) - count)[:count]
    X[len(X) - count :] = at_cosine(random, X[source], random.uniform(1 - eps, 1, count))
    return X[random.permutation(len(X))]


def directions(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    return with_twins(random, unit(random.standard_normal((rows, dim), dtype=np.float32)), 0.3, eps)


def clouds(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    """Rows of one cloud have a cosine of 0.7 (0.35 if eps is above 0.1): not duplicates, but nearer than other rows."""
    middles = unit(random.standard_normal((max(2, rows // 10_000), dim), dtype=np.float32))
    inside = 0.7 if eps <= 0.1 else 0.35
    X = at_cosine(random, middles[random.integers(0, len(middles), rows)], np.full(rows, inside**0.5))
    return with_twins(random, X, 0.3, eps)


def clips(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    spectrum = np.arange(1, dim + 1) ** -0.5

    def direction() -> NDArray[np.float64]:
        drawn = random.standard_normal(dim) * spectrum
        return drawn / np.linalg.norm(drawn)

    X = np.empty((rows, dim), dtype=np.float32)
    row = 0
    while row < rows:
        style = scene = direction()
        for _ in range(1 + int(random.pareto(1.2) * 8)):
            scene = scene + min(3.0, 0.3 * (random.pareto(1.5) + 0.3)) * direction() + 0.15 * style
            scene /= np.linalg.norm(scene)
            X[row] = scene
            row += 1
            if row == rows:
                break
    return with_twins(random, X, 0.2, eps)


SECONDS, STEP_S, LONGEST_S = 2.0, 0.5, 120.0
COPIES = (
    "re-encoded at CRF 38", "brighter", "cut by 0.4 s and 0.2 s", "logo of 20 % x 15 %", "cropped by 5 % a side",
    "letterboxed to 4:3 of its height",
)  # fmt: skip


def clip_vectors(path: Path, model: EmbeddingModel) -> list[tuple[float, NDArray[np.float32]]]:
    """The start in seconds and the vector of each clip of a video."""
    info = probe_video(path)
    length_s = min(info.duration_s or 0.0, LONGEST_S)
    starts = np.arange(0.0, length_s - SECONDS, STEP_S).tolist()
    spans = [Span(number, start, start + SECONDS) for number, start in enumerate(starts)]
    found = []
    for span, frames in read_source_frames(info, spans, model.frame_rule):
        vector = None if isinstance(frames, MediaError) else model.embed([frames])[0]
        if isinstance(vector, np.ndarray):
            found.append((span.start_s, vector))
    return found


def embed_videos(folder: Path, target: Path) -> None:
    """Write the vectors of all clips of a folder's videos, and of edited copies, to one Parquet file: some minutes."""
    model = load_model(DEFAULT_MODEL)
    ids: list[str] = []
    vectors = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.iterdir()):
            try:
                copies = edited(path, Path(scratch))
                found = {name: clip_vectors(copy, model) for name, copy in copies.items()}
            except MediaError as error:
                print(f"left out: {path.name} ({error.reason})", flush=True)
                continue
            for name, clips in found.items():
                ids += [f"{path.name} {start:g} {name}" for start, _ in clips]
                vectors += [vector for _, vector in clips]
    table = pa.table({"id": ids, "embedding": matrix_column(np.stack(vectors))})
    write_parquet(Folder(str(target.parent)), target.name, table, vectors=["embedding"])


def edited(path: Path, scratch: Path) -> dict[str, Path]:
    """The video itself, a smaller copy of at most two minutes of it, and edits of that."""
    info = probe_video(path)
    if not info.duration_s or info.duration_s < 5:
        raise MediaError("too-short", f"{path.name} has less than 5 s")
    copies = {"itself": path, "smaller": scratch / "smaller.mp4"}
    cut_s = max(0.0, info.duration_s - LONGEST_S)
    write_edit(info, Edit("smaller", "light", "scale=320:-2", trim_s=(0.0, cut_s)), copies["smaller"])
    smaller = probe_video(copies["smaller"])
    for number, edit in enumerate(edit for edit in EDITS if edit.name in COPIES):
        copies[edit.name] = scratch / f"{number}.mp4"
        write_edit(smaller, edit, copies[edit.name])
    return copies


def whole_deduplication(X: Rows, clusters: int, rounds: int, eps_values: Sequence[float]) -> None:
    """Print what --cross-cluster adds to k-means, pairwise and identify, each with 2 workers."""
    settings = ClusterSettings(device="cpu", n_workers=2, dashboard=False)
    print("\n| eps | k-means s | pairwise s | across s | identify s | removed without / with | ratio of the whole |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, LazyCluster(settings) as cluster:
        context = RunContext(cluster)
        ids = [f"clip-{row:08d}" for row in range(len(X))]
        table = pa.table({"id": ids, "embedding": matrix_column(X)})
        write_parquet(Folder(f"{scratch}/v"), "part-0.parquet", table, vectors=["embedding"])
        seconds: dict[float, list[list[float]]] = {eps: [] for eps in eps_values}
        removed = dict.fromkeys(eps_values, "")
        for number in range(rounds):
            at = f"{scratch}/{number}"
            kmeans = KMeansStage(clusters, input_path=f"{scratch}/v", output_path=f"{at}/k")
            pairwise = PairwiseStage(input_path=f"{at}/k", output_path=f"{at}/p")
            fitted = [stage.run(context=context).seconds for stage in (kmeans, pairwise)]
            for eps in eps_values:
                across = CrossClusterStage.after(pairwise, f"{at}/x{eps}", eps)
                plain, more = (
                    IdentifyDuplicatesStage(f"{at}/{name}", f"{at}/k", output_path=f"{at}/d{name}-{eps}", eps=eps)
                    for name in ("p", f"x{eps}")
                )
                stages: tuple[Stage, ...] = (across, plain, more)
                results = [stage.run(context=context) for stage in stages]
                seconds[eps].append([*fitted, *(result.seconds for result in results)])
                removed[eps] = " / ".join(str(result.counts["removed"]) for result in results[-2:])
        for eps in eps_values:
            fit, pairs, between, decide, decide_more = np.median(seconds[eps], axis=0).tolist()
            ratio = (fit + pairs + between + decide_more) / (fit + pairs + decide)
            print(
                f"| {eps:g} | {fit:.1f} | {pairs:.1f} | {between:.1f} | {decide:.1f} | {removed[eps]} | {ratio:.2f} |",
                flush=True,
            )


DATA: dict[str, Callable[[np.random.Generator, int, int, float], Rows]] = {
    "directions": directions,
    "clouds": clouds,
    "clips": clips,
}


def clusters_of(X: Rows, k: int, iterations: int = 12) -> tuple[Rows, NDArray[np.int32]]:
    C = X[np.random.default_rng(1).choice(len(X), k, replace=False)]
    for _ in range(iterations):
        C = new_centres(lloyd_partial(X, C), C)
    return C, assign(X, C)


def brute_force(X: Rows, block: int = 1024) -> NDArray[np.float32]:
    """The highest cosine of every row with an earlier row, in float32. Pairs with a later row are masked."""
    best = np.zeros(len(X), dtype=np.float32)
    for start in range(0, len(X), block):
        cosine = X[start : start + block] @ X[: start + block].T
        cosine[:, start:][np.triu_indices(cosine.shape[0], m=cosine.shape[1] - start)] = -1
        best[start : start + block] = cosine.max(axis=1)
    return best


def within_clusters(tables: list[Rows], members: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    score = np.zeros(sum(map(len, tables)), dtype=np.float32)
    for table, rows in zip(tables, members, strict=True):
        if len(rows):
            score[rows], _ = max_earlier_similarity(table)
    return score


@dataclass
class Across:
    score: NDArray[np.float32]
    borders_s: float
    pairs: int


def across_clusters(
    X: Rows, tables: list[Rows], C: Rows, members: list[NDArray[np.int64]], within: NDArray[np.float32],
    eps: float, budget: float,
) -> Across:  # fmt: skip
    start = time.process_time()
    centroids = prepare_centroids(C, np.array([len(rows) for rows in members], dtype=np.float64))
    widths = np.where(centroids.sketch_widths(eps) < X.shape[1], centroids.sketch_widths(eps), 0)
    sketches = np.empty((len(X), centroids.sketch_width(eps)), np.float32)
    row, target = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for own, rows in enumerate(members):
        if len(rows):
            found = find_borders(tables[own], own, centroids, eps, budget=budget)
            sketches[rows] = found.sketches
            row.append(rows[found.row])
            target.append(found.cluster)
    order = np.argsort(np.concatenate(target), kind="stable")
    arrived, stops = np.concatenate(row)[order], np.cumsum(np.bincount(np.concatenate(target), minlength=len(members)))
    result = Across(np.zeros(len(X), dtype=np.float32), time.process_time() - start, 0)
    arrivals = np.split(arrived, stops[:-1])
    for rows, table, queries, width in zip(members, tables, arrivals, widths.tolist(), strict=True):
        if len(queries) and len(rows):
            one = ComparedRows.of(X[queries], sketches[queries], within[queries])
            other = ComparedRows.of(table, sketches[rows], within[rows])
            scores = score_cross_cluster(one, other, lambda q, m, a=queries, b=rows: (a[q], b[m]), eps, width=width)
            np.maximum.at(result.score, queries, scores.queries.cosine)
            result.score[rows] = np.maximum(result.score[rows], scores.members.cosine)
            result.pairs += len(queries) * len(rows)
    return result


def measure(name: str, X: Rows, largest: float, options: argparse.Namespace) -> None:
    C, labels = clusters_of(X, options.clusters)
    members = [np.flatnonzero(labels == cluster) for cluster in range(options.clusters)]
    tables = [X[rows] for rows in members]
    pairs_within = sum(len(rows) * (len(rows) - 1) // 2 for rows in members)
    best = brute_force(X)
    for eps in (largest,) if largest > 0.1 else options.at:
        ratios, borders = [], []
        for _ in range(options.rounds):
            start = time.process_time()
            within = within_clusters(tables, members)
            middle = time.process_time()
            across = across_clusters(X, tables, C, members, within, eps, options.budget)
            ratios.append((time.process_time() - start) / (middle - start))
            borders.append(across.borders_s / (middle - start))
        both = np.maximum(within, across.score)
        near = best >= 1 - eps
        decided = [float((score[near] >= 1 - eps).mean()) for score in (within, both)]
        same = float((both[near] >= best[near] - 1e-5).mean())
        print(
            f"| {name} | {options.dim} | {eps:g} | {near.sum()} | {decided[0]:.4f} | {decided[1]:.4f} | {same:.4f} "
            f"| {across.pairs / pairs_within:.2f} | {statistics.median(borders):.2f} | {statistics.median(ratios):.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=DEFAULT_BUDGET)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.5], help="the largest eps of the planted twins")
    parser.add_argument("--at", type=float, nargs="+", default=[0.01, 0.05, 0.1], help="the eps to find twins at")
    parser.add_argument("--vectors", type=Path, help="a Parquet file of clips, made if it is not there")
    parser.add_argument("--video-dir", type=Path, default=REAL)
    parser.add_argument("--whole", action="store_true", help="time the whole deduplication of the simulated data")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    options = parser.parse_args()
    if options.whole:
        for name in options.data:
            print(f"\n{name}: {options.rows} rows of {options.dim}, {options.clusters} clusters, eps up to 0.1")
            X = DATA[name](np.random.default_rng(0), options.rows, options.dim, 0.1)
            whole_deduplication(X, options.clusters, options.rounds, options.at)
        return
    X = None
    if options.vectors:
        if not options.vectors.exists():
            embed_videos(options.video_dir, options.vectors)
        table = read_parquet(Folder(str(options.vectors.resolve().parent)), options.vectors.name, ["embedding"])
        X = np.stack(table["embedding"].to_numpy()).astype(np.float32)
        options.rows, options.dim = X.shape
    print(f"{options.rows} rows, {options.clusters} clusters, budget {options.budget:g}\n")
    print("| data | D | eps | rows to find | within | decided | best | comparisons / within | borders | time ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    if X is not None:
        measure("real clips", X, 0.1, options)
        whole_deduplication(X, options.clusters, options.rounds, options.at)
        return
    for largest in options.eps:
        for name in options.data:
            measure(name, DATA[name](np.random.default_rng(0), options.rows, options.dim, largest), largest, options)


if __name__ == "__main__":
    main()
