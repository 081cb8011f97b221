"""The distributed fit of k-means: workers hold the rows and add up exact sums, the client computes the new centres.

The rows stay on the workers as Dask futures for the whole fit; Dask itself reads a lost worker's rows again. All
sums are exact (`curator_dask.dedup.kmeans.lloyd`), so partitions, workers and the order of completion change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_array
from curator_dask.data.tables import open_parquet
from curator_dask.data.vector_source import Chunk, Rows, VectorSource, read_rows
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.arrays.xp import array_module, to_host
from curator_dask.dedup.kmeans.grouped import Search, choose_search
from curator_dask.dedup.kmeans.grouped_start import grouped_d2_start
from curator_dask.dedup.kmeans.lloyd import (
    KMeansResult,
    Partial,
    iterate,
    lloyd,
    lloyd_partial,
    new_centres,
    sq_norms_of,
)
from curator_dask.dedup.kmeans.start import check_centres, d2_start, random_start, take_rows
from curator_dask.errors import InputError
from curator_dask.files.names import counted
from curator_dask.runtime.device import to_device
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.kmeans.fit_watch import retry
from curator_dask.stages.kmeans.gpu_fit import GpuFit, fit_on_gpus
from curator_dask.stages.kmeans.held import (
    FirstLevel,
    Level,
    RowsOnWorkers,
    compares_groups,
    merge_tree,
)
from curator_dask.stages.kmeans.ids.doubled_ids import refuse_doubled_ids
from curator_dask.stages.kmeans.parameters import KMeansParameters
from curator_dask.stages.kmeans.sample import Sample, choose_sample, sample_tol, wanted_clusters
from curator_dask.stages.kmeans.spec import Census, FitRows, FitSpec, KeptRows, priority_limit

if TYPE_CHECKING:
    from curator_dask.runtime.progress import Reporter

START_ROWS_PER_CLUSTER = 20
"""The start is chosen from a sample of this many rows per cluster."""
ROWS_TRIED = 4096
"""Rows on which an assignment to groups of centroids is tried."""
LEAST_RECALL = 0.99
"""At least this share of them must get their nearest centroid."""
STEPS_BETWEEN = 2
"""At most this many iterations on each level of a sample between the first and the last."""
LAST_STEPS = 3
"""At most this many iterations on the last level."""
RELAXATION = 1.8
"""On all levels but the first, centroids move so many times the way to the means of their rows.

The first iterations move centroids far, where it does harm. Later ones creep: measured, five relaxed ones end about as low as
nine plain ones.
"""


@dataclass(frozen=True)
class Fit:
    """A fit and the census of the rows it was made from."""

    result: KMeansResult
    num_rows: int
    num_fit_rows: int
    """Rows that the iterations went over; the inertia of the result is theirs."""
    n_clusters: int
    """The number of clusters, at most one per row."""
    rejects: tuple[dict[str, Any], ...]
    search: Search | None = None
    """How the nearest centroid of each row is searched for; None: among all."""
    kept: Sequence[Any] = ()
    """Futures of the `Rows` of each chunk, where the workers keep them."""


def fit(client: Any, spec: FitSpec, chunks: Sequence[Chunk], reporter: Reporter) -> Fit:
    """Fit k-means over all chunks.

    Raises InputError if no row is usable or two rows share an id (the error names some).
    """
    if spec.device == "cpu":
        return _fit(client, spec, chunks, reporter)

    def attempt(in_host_memory: bool) -> Fit:
        return _fit(client, replace(spec, in_host_memory=in_host_memory), chunks, reporter)

    return retry(client, attempt, reporter)


def _fit(client: Any, spec: FitSpec, chunks: Sequence[Chunk], reporter: Reporter) -> Fit:
    parameters = spec.parameters
    sample = _choose_sample(client, spec, chunks, reporter)
    how = {
        "source": spec.source,
        "seed": parameters.random_state,
        "device": spec.device,
        "pure": False,
    }
    kept = client.map(_read_to_keep, chunks, **how) if sample.kept else []
    loaded = client.map(load_fit_rows, kept or chunks, fraction=sample.fraction, in_order=bool(sample.levels), **how)
    in_levels = sample.levels or (1.0,)
    census = gather(client, client.map(FitRows.census, loaded, levels=in_levels, pure=False), reporter.note)
    num_rows, num_fit_rows, rejects = _add_up_census(census, sample)
    hashes = client.map(_hashes_of_ids, loaded, pure=False)
    refuse_doubled_ids(client, spec.source, parameters.random_state, chunks, hashes, num_rows, reporter.note)
    n_clusters = fitting_n_clusters(parameters, num_rows if sample.refined else num_fit_rows, num_fit_rows, reporter)
    held = RowsOnWorkers(client, reporter.note, loaded, _add_up_levels(census, in_levels), spec.dimension)
    if sample.refined and len(held.levels) == 1:
        tol = sample_tol(parameters.tol, num_fit_rows, n_clusters)
        spec = replace(spec, parameters=replace(parameters, tol=tol))
    result = _fit_best(held, spec, n_clusters, reporter)
    if sample.step:
        result = _step_over_all(client, spec, kept or chunks, result, reporter)
    search = _choose_search(held, spec, result.centroids)
    return Fit(result, num_rows, num_fit_rows, n_clusters, rejects, search, kept)


def _choose_sample(client: Any, spec: FitSpec, chunks: Sequence[Chunk], reporter: Reporter) -> Sample:
    counts = gather(client, client.map(_count_rows, chunks, source=spec.source, pure=False), reporter.note)
    return choose_sample(spec.parameters, sum(counts), spec.dimension, spec.device)


def _add_up_census(census: Sequence[Census], sample: Sample) -> tuple[int, int, tuple[dict[str, Any], ...]]:
    """``(rows, rows of the sample, rejects)``. Raises InputError if there are no rows, or none in the sample."""
    num_rows = sum(part.num_rows for part in census)
    num_fit_rows = sum(part.level_rows[-1] for part in census)
    rejects = tuple(reject for part in census for reject in part.rejects)
    if not num_rows:
        raise InputError(f"no usable vectors among {counted(len(rejects), 'rows')} ({_count_reasons(rejects)})")
    if not num_fit_rows:
        raise InputError(
            f"fit_data_fraction ({sample.fraction:g}) leaves nothing of {counted(num_rows, 'rows')} to fit on: give a larger "
            "one, or none"
        )
    return num_rows, num_fit_rows, rejects


def _add_up_levels(census: Sequence[Census], shares: Sequence[float]) -> tuple[Level, ...]:
    rows = [sum(counts) for counts in zip(*(part.level_rows for part in census), strict=True)]
    sq_norms = [sum(sums) for sums in zip(*(part.level_sq_norms for part in census), strict=True)]
    return tuple(map(Level, shares, rows, sq_norms))


def fitting_n_clusters(parameters: KMeansParameters, num_rows: int, num_fit_rows: int, reporter: Reporter) -> int:
    """The number of clusters for this many rows: what the parameters ask for, but at most one per row of the fit."""
    wanted = wanted_clusters(parameters, num_rows)
    if isinstance(parameters.init, str) and wanted > num_fit_rows:
        reporter.note(
            f"n_clusters ({wanted}) is more than {counted(num_fit_rows, 'rows')} to fit: using {num_fit_rows}. "
            "Clusters this small hide nearly all duplicates; about 1,000 rows per cluster are usual"
        )
        return num_fit_rows
    return wanted  # a centre of an array that has no rows stays where it is


def _read_to_keep(chunk: Chunk, *, source: VectorSource, seed: int, device: str) -> KeptRows:
    rows = read_rows(source, chunk, device)
    priority = sample_priority(id_array(rows.ids), seed)
    return KeptRows(rows.ids, to_host(rows.X), rows.metadata, rows.rejects, priority)


def load_fit_rows(
    chunk: Chunk | KeptRows, *, source: VectorSource, fraction: float, seed: int, device: str, in_order: bool = False
) -> FitRows:
    """The rows to fit on of a chunk, or of its rows where they are kept; with `in_order`, in the order of their hashes."""
    if isinstance(chunk, KeptRows):
        rows: Rows = chunk
        all_priority = chunk.priority
    else:
        rows = read_rows(source, chunk, device)
        all_priority = sample_priority(id_array(rows.ids), seed)
    places = _places_of_sample(all_priority, fraction, in_order)
    chosen: Any = slice(None) if places is None else places
    X = rows.X
    if not isinstance(chunk, KeptRows):  # nobody else keeps the other rows
        X, places = to_host(X[chosen]), None
    return FitRows(X, places, all_priority[chosen], all_priority, sq_norms_of(Some(X, places)), rows.rejects)


def _places_of_sample(priority: NDArray[np.uint64], fraction: float, in_order: bool) -> NDArray[np.int64] | None:
    """The rows with the lowest hashes, with `in_order` in the order of these; None: all, in their own order."""
    if not in_order:
        return np.flatnonzero(priority < priority_limit(fraction)) if fraction < 1 else None
    number = np.count_nonzero(priority < priority_limit(fraction)) if fraction < 1 else len(priority)
    return np.argsort(priority, kind="stable")[:number]


def _hashes_of_ids(rows: FitRows) -> NDArray[np.uint64]:
    return rows.all_priority


def _count_rows(chunk: Chunk, *, source: VectorSource) -> int:
    if source.filetype != "parquet":
        return sum(source.folder.read_bytes(piece.path).count(b"\n") for piece in chunk)
    total = 0
    for piece in chunk:
        with open_parquet(source.folder, piece.path) as file:
            metadata = file.metadata
        groups = range(metadata.num_row_groups) if piece.row_groups is None else piece.row_groups
        total += sum(metadata.row_group(number).num_rows for number in groups)
    return total


def _fit_best(held: RowsOnWorkers, spec: FitSpec, n_clusters: int, reporter: Reporter) -> KMeansResult:
    parameters = spec.parameters
    runs = parameters.n_init if isinstance(parameters.init, str) else 1
    results: list[KMeansResult] = []
    for run in range(runs):
        seed = parameters.random_state + run
        sample = _draw_for_start(held, spec, n_clusters, seed)
        # The workers have nothing to do while the start is chosen.
        first_level = FirstLevel(held, spec) if len(held.levels) > 1 else None
        start = _choose_start(held, spec, n_clusters, sample, seed)
        reporter.start(f"kmeans fit {run + 1}/{runs}" if runs > 1 else "kmeans fit", parameters.max_iter, "iterations")
        try:
            results.append(_iterate(held, start, spec, reporter, first_level))
        finally:
            reporter.finish()
    return min(results, key=lambda result: result.inertia)


def _iterate(
    held: RowsOnWorkers, start: NDArray[np.float32], spec: FitSpec, reporter: Reporter, first_level: FirstLevel | None
) -> KMeansResult:
    def tell(cost: float) -> None:
        reporter.advance()
        if spec.verbose:
            reporter.note(f"kmeans: inertia {cost:.9g}")

    level = held.all_rows
    if spec.device == "gpu" and level.num_rows >= len(start):  # cuML refuses fewer rows than centres
        return _fit_by_cuml(held, start, spec)
    if first_level is not None:
        return _fit_in_levels(held, first_level, spec, start, tell)
    parameters = spec.parameters
    return lloyd(
        lambda C: held.sum_up(C, spec, level),
        start,
        level.sq_norms,
        max_iter=parameters.max_iter,
        tol=parameters.tol,
        after_each=tell,
    )


def _fit_in_levels(
    held: RowsOnWorkers,
    first_level: FirstLevel,
    spec: FitSpec,
    start: NDArray[np.float32],
    tell: Callable[[float], None],
) -> KMeansResult:
    """Fit on a sample that grows, in two levels or more, from the centres ``start`` (k, D).

    The first iterations move the centroids far, and a few rows tell where to. What is left to move is less than the
    differences between a row's near centres, so later iterations need not compare a row with all others.

    ``max_iter`` limits the iterations of all levels together; at least one more is on the last level. The inertia of the
    result is that of the last level, with its rows where the last iteration put them; ``tell`` hears the cost of every iteration.
    """
    most, tol = spec.parameters.max_iter, spec.parameters.tol
    first, *between, last = held.levels
    first_tol = sample_tol(tol, first.num_rows, len(start))
    C, n_iter, *_ = iterate(
        first_level.sum_up,
        start,
        first.sq_norms,
        max_iter=most,
        tol=first_tol,
        after_each=tell,
    )
    first_level.let_go()
    among_near = held.among_near(spec, len(C), roughly=first_level.tells_roughly(C))
    for level in between:
        steps = min(STEPS_BETWEEN, most - n_iter)
        C, more, *_ = iterate(
            among_near(level), C, level.sq_norms, max_iter=steps, tol=tol, after_each=tell, relaxation=RELAXATION
        )
        n_iter += more
    steps = min(LAST_STEPS, max(1, most - n_iter))
    ended = iterate(among_near(last), C, last.sq_norms, max_iter=steps, tol=tol, after_each=tell, relaxation=RELAXATION)
    return ended.result(last.sq_norms, n_iter)


def _fit_by_cuml(held: RowsOnWorkers, start: NDArray[np.float32], spec: FitSpec) -> KMeansResult:
    parameters = spec.parameters
    told = GpuFit(
        parameters.max_iter,
        parameters.tol,
        parameters.random_state,
        parameters.max_samples_per_batch,
        spec.in_host_memory,
    )
    C, n_iter = fit_on_gpus(held.client, held.loaded, start, told, held.say)
    final = held.sum_up(C, spec, held.all_rows)
    return KMeansResult(C, final.counts, final.cost(C, held.all_rows.sq_norms), n_iter, n_iter < parameters.max_iter)


def _draw_for_start(held: RowsOnWorkers, spec: FitSpec, n_clusters: int, seed: int) -> NDArray[np.float32] | None:
    """The rows among which the start is chosen; None where it is given."""
    if not isinstance(spec.parameters.init, str):
        return None
    return _draw_sample(held, min(held.all_rows.num_rows, START_ROWS_PER_CLUSTER * n_clusters), seed)


def _choose_start(
    held: RowsOnWorkers, spec: FitSpec, n_clusters: int, sample: NDArray[np.float32] | None, seed: int
) -> NDArray[np.float32]:
    parameters = spec.parameters
    if sample is None:
        return check_centres(parameters.init, n_clusters, held.dimension)
    if parameters.init == "random":
        return random_start(sample, n_clusters)
    draw = grouped_d2_start if compares_groups(spec, n_clusters) else d2_start
    return draw(sample, n_clusters, seed, parameters.oversampling_factor)


def _choose_search(held: RowsOnWorkers, spec: FitSpec, C: NDArray[np.float32]) -> Search | None:
    """How far to look for the nearest centroid, tried on some rows of the fit; None: among all centroids."""
    if not compares_groups(spec, len(C)):
        return None
    rows = _draw_sample(held, min(held.all_rows.num_rows, ROWS_TRIED), spec.parameters.random_state)
    return choose_search(rows, C, LEAST_RECALL)


def _draw_sample(held: RowsOnWorkers, num_rows: int, seed: int) -> NDArray[np.float32]:
    """The `num_rows` rows of lowest priority, in that order; the partitions do not matter."""
    likely = num_rows + 6 * num_rows**0.5 + 100  # six standard deviations more than are asked for
    share = min(1.0, likely / held.all_rows.num_rows)
    while True:
        drawn = held.client.map(_rows_below, held.loaded, share=share, seed=seed, pure=False)
        parts = gather(held.client, drawn, held.say)
        priority = np.concatenate([part[0] for part in parts])
        if len(priority) >= num_rows or share >= 1.0:
            break
        share = min(1.0, 2 * share)
    order = np.argsort(priority, kind="stable")[:num_rows]
    return take_rows([part[1] for part in parts], order)


def _rows_below(rows: FitRows, *, share: float, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    # A new hash per seed, made from the hash of the ids, so that a sampled fit and a restart draw other rows.
    drawn = sample_priority(rows.priority, seed)
    chosen = drawn <= np.uint64(min(2**64 - 1, int(share * 2.0**64)))
    return drawn[chosen], rows.some(np.flatnonzero(chosen))[:]


def _step_over_all(
    client: Any, spec: FitSpec, chunks: Sequence[Any], result: KMeansResult, reporter: Reporter
) -> KMeansResult:
    """Move the centroids of a fit on a sample to the means of all rows: one iteration of Lloyd.

    Where a sample has too few rows per cluster, it is worth its time: it takes back more of the inertia and of the near
    rows that are split than a sample of twice the size would (benchmarks/results/kmeans_sample_2_cores.md).
    """
    centres = hold(client, result.centroids)
    parts = client.map(
        _partial_of_chunk,
        chunks,
        source=spec.source,
        C=centres,
        max_rows=spec.parameters.max_samples_per_batch,
        device=spec.device,
        pure=False,
    )
    partial = merge_tree(client, parts, reporter.note)
    return replace(result, centroids=new_centres(partial, result.centroids), counts=partial.counts)


def _partial_of_chunk(
    chunk: Chunk | Rows, *, source: VectorSource, C: NDArray[np.float32], max_rows: int, device: str
) -> Partial:
    rows = chunk if isinstance(chunk, Rows) else read_rows(source, chunk, device)
    X = to_device(rows.X, device)
    return lloyd_partial(X, array_module(X).asarray(C), max_rows=max_rows)


def _count_reasons(rejects: Sequence[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject["reason"]] = counts.get(reject["reason"], 0) + 1
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
