"""Measure recall: find the duplicates of a sample of rows among all rows, and count those that the run knows of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import id_values
from curator_dask.data.ids import id_column, one_type, stored
from curator_dask.data.scored_clusters import ClusterInput, read_in_order, read_scores
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.decide.recall import count_near, drawing_order
from curator_dask.dedup.similarity.scope import is_known, source_codes
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.runtime.device import to_device
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.identify.spec import RecallSearch

if TYPE_CHECKING:
    import pyarrow as pa

TASKS_AT_ONCE = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """Sampled rows, of one cluster or of all."""

    cluster: NDArray[np.int64]
    """(M,) the cluster of each row."""
    X: NDArray[np.float32]
    """(M, D) unit rows."""
    sources: NDArray[Any] | None
    """(M,); None where all pairs count."""
    duplicate: NDArray[np.bool_]
    """(M,) rows that the similarity tables call duplicates."""


def measure_recall(
    client: Any, clusters: Sequence[ClusterInput], search: RecallSearch, say: Callable[[str], None]
) -> dict[str, int]:
    """Compare a sample of rows with all rows. The sample are the rows whose ids have the lowest seeded hashes.

    `say` hears of it if there are no workers.

    Returns:
        ``recall_rows`` (rows of the sample), ``recall_pairs`` (pairs within eps of a sampled row and any other row) and
        ``recall_pairs_found`` (those of them in one cluster; after cross-cluster comparisons also those of two clusters
        of which a row is called a duplicate, as no table lists all pairs). Memory holds the sample, and on a worker one
        cluster.
    """
    map_clusters = partial(_map_clusters, client, say, clusters)
    lowest, across = np.zeros(0, np.uint64), False
    for priorities, names_others in map_clusters(_survey, num_rows=search.num_rows):
        lowest = np.sort(np.concatenate([lowest, priorities]))[: search.num_rows]
        across = across or names_others
    at_most = int(lowest[-1])
    sample = _concatenate(list(map_clusters(_sample_cluster, at_most=at_most, search=search)))
    held = hold(client, sample)
    pairs = found = 0
    for num_pairs, num_found in map_clusters(_count_pairs, sample=held, search=search, across=across):
        pairs, found = pairs + num_pairs, found + num_found
    return {"recall_rows": len(sample.cluster), "recall_pairs": pairs, "recall_pairs_found": found}


def _map_clusters(
    client: Any, say: Callable[[str], None], clusters: Sequence[ClusterInput], work: Any, **parameters: Any
) -> Iterator[Any]:
    """The results of `work` on each cluster, in order, with a bounded number of tasks at a time."""
    waiting = iter(clusters)
    while batch := list(islice(waiting, TASKS_AT_ONCE)):
        yield from gather(client, client.map(work, batch, pure=False, **parameters), say)


def _ids(cluster: ClusterInput) -> pa.Array:
    return id_column(read_parquet(cluster.tables, cluster.table, [cluster.id_field]), cluster.id_field)


def _survey(cluster: ClusterInput, num_rows: int) -> tuple[NDArray[np.uint64], bool]:
    """The lowest priorities of a cluster, and whether its table names rows of other clusters."""
    import pyarrow.compute as pc

    table = read_parquet(cluster.tables, cluster.table, [cluster.id_field, "max_id"])
    max_ids, ids = map(stored, one_type([id_column(table, name) for name in ("max_id", cluster.id_field)]))
    within = pc.all(pc.is_in(max_ids, value_set=ids)).as_py()
    return np.sort(drawing_order(id_values(table, cluster.id_field)))[:num_rows], not within


def _sample_cluster(cluster: ClusterInput, at_most: int, search: RecallSearch) -> Sample | None:
    ids = _ids(cluster)
    chosen = np.flatnonzero(drawing_order(stored(ids).to_numpy(zero_copy_only=False)) <= np.uint64(at_most))
    if not len(chosen):
        return None
    X, sources = read_in_order(cluster, ids, search.sources)
    own = sources[chosen] if sources is not None else None
    duplicate = is_duplicate(read_scores(cluster).score[chosen], search.eps)
    return Sample(np.full(len(chosen), cluster.number, np.int64), X[chosen], own, duplicate)


def _concatenate(parts: Sequence[Sample | None]) -> Sample:
    there = [part for part in parts if part is not None]
    sources = [part.sources for part in there if part.sources is not None]
    return Sample(
        np.concatenate([part.cluster for part in there]),
        np.concatenate([part.X for part in there]),
        np.concatenate(sources) if sources else None,
        np.concatenate([part.duplicate for part in there]),
    )


def _count_pairs(cluster: ClusterInput, sample: Sample, search: RecallSearch, across: bool) -> tuple[int, int]:
    """Count the pairs of sampled rows with the rows of one cluster, and how many of them the run knows of.

    Args:
        across: whether pairs of two clusters were compared; then all pairs of rows count, whatever their sources.
    """
    X, sources = read_in_order(cluster, _ids(cluster), search.sources)
    codes = own_codes = None
    if sources is not None and sample.sources is not None:
        both = source_codes(np.concatenate([sample.sources.astype(object), sources.astype(object)]))
        own_codes, codes = both[: len(sample.cluster)], both[len(sample.cluster) :]
    counts = count_near(
        to_device(sample.X, search.device), to_device(X, search.device), search.eps,
        scope=search.scope, sample_sources=own_codes, sources=codes,
    )  # fmt: skip
    own = sample.cluster == cluster.number
    counts[own & _counts_itself(search.scope, sample)] -= 1
    found = int(counts[own].sum())
    if across:
        found += int(counts[~own & sample.duplicate].sum())
        found += _count_duplicates(cluster, X, sample.X[~own & ~sample.duplicate], search)
    return int(counts.sum()), found


def _count_duplicates(
    cluster: ClusterInput, X: NDArray[np.float32], rows: NDArray[np.float32], search: RecallSearch
) -> int:
    """Count the pairs of some rows with those rows of a cluster, all in X, that its table calls duplicates."""
    duplicate = is_duplicate(read_scores(cluster).score, search.eps)
    if not len(rows) or not duplicate.any():
        return 0
    return int(count_near(to_device(rows, search.device), to_device(X[duplicate], search.device), search.eps).sum())


def _counts_itself(scope: str, sample: Sample) -> NDArray[np.bool_]:
    """(M,) for which sampled rows the count includes the row itself. An unknown source differs from all, even from itself."""
    if scope == "all" or sample.sources is None:
        return np.ones(len(sample.cluster), np.bool_)
    known = is_known(sample.sources)
    return known if scope == "same" else ~known
