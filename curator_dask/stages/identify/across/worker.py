"""What single clusters and groups of clusters do in a round of the greedy rule over all clusters; it runs on workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput, RowSet, Scores, near_list_of, read_in_order, read_scores
from curator_dask.dedup.decide.decisions import greedy_keep
from curator_dask.dedup.decide.near_rows import NearRows
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.units import MOST_IN_TASK
from curator_dask.stages.cross_cluster.near_rows import near_rows_of_group
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask
from curator_dask.stages.identify.across.row_sets import read_row_sets, write_row_sets
from curator_dask.stages.identify.across.standing import write_pairs
from curator_dask.stages.identify.decisions.dropped import DroppedRows


@dataclass(frozen=True)
class KeepTask:
    """Decide some clusters, each by itself, and write which rows are kept."""

    clusters: tuple[ClusterInput, ...]
    written: str
    """The file to write."""


@dataclass(frozen=True)
class KeepRule:
    """What all of these tasks have in common."""

    folder: Folder
    """Has the files."""
    taken: str | None
    """The file with the rows that kept rows of other clusters remove, as far as is known; None: nothing is known."""
    dropped: DroppedRows | None
    """What the filters drop; None where there are none."""
    eps: float
    device: str


def in_tasks(clusters: Sequence[ClusterInput]) -> Iterator[tuple[ClusterInput, ...]]:
    """The clusters, those together that fill one task, and at most `MOST_IN_TASK`."""
    some: list[ClusterInput] = []
    for cluster in clusters:
        if len(some) == MOST_IN_TASK or (some and sum(one.share for one in some) + cluster.share > 1):
            yield tuple(some)
            some = []
        some.append(cluster)
    if some:
        yield tuple(some)


def write_kept(task: KeepTask, rule: KeepRule) -> None:
    """Write which rows of the clusters are kept, if those that rows of other clusters remove, and those gone before, are out."""
    taken = read_row_sets(rule.folder, [] if rule.taken is None else [rule.taken])
    kept = {one.number: RowSet.of(_kept(one, rule, taken.get(one.number))) for one in task.clusters}
    write_row_sets(rule.folder, task.written, kept)


def _kept(cluster: ClusterInput, rule: KeepRule, taken: RowSet | None) -> NDArray[np.bool_]:
    """(N,) the rows of a cluster that are kept, in ranked order."""
    scores = read_scores(cluster)
    out = _out(cluster, scores, rule.dropped, taken)
    may_go = is_duplicate(scores.score, rule.eps)
    if not may_go.any():
        return ~may_go if out is None else ~out
    near = near_list_of(cluster, scores, scores.best(), rule.eps)
    if near is not None:
        return ~NearRows.from_list(near).removed_by_kept(len(may_go), out)
    X, _ = read_in_order(cluster, scores.ids)
    return ~greedy_keep(to_device(X, rule.device), rule.eps, candidates=may_go, taken=out).removed


def _out(
    cluster: ClusterInput, scores: Scores, dropped: DroppedRows | None, taken: RowSet | None
) -> NDArray[np.bool_] | None:
    """(N,) the rows that take no part, and those that are taken; None: there are none."""
    if dropped is None and cluster.gone is None and taken is None:
        return None
    stay = np.ones(len(scores.ids), np.bool_) if dropped is None else dropped.stay(scores.ids)
    out = ~stay
    if cluster.gone is not None:  # it tells of the rows that stay alone
        out[stay] = cluster.gone.mask()
    return out if taken is None else out | taken.mask()


@dataclass(frozen=True)
class NearTask:
    """Find the near rows of newly kept rows, where one of both is in a group of clusters."""

    folder: Folder
    group: int
    new: str
    """The file with the newly kept rows of all clusters."""
    written: str
    """The file to write."""


def write_near_rows(task: NearTask, spec: CrossClusterSpec, eps: float) -> int:
    """Write the pairs; returns how many there are."""
    new = {number: rows.mask() for number, rows in read_row_sets(task.folder, [task.new]).items()}
    pairs = near_rows_of_group(GroupTask(spec, task.group), eps, new)
    write_pairs(task.folder, task.written, pairs)
    return len(pairs.place)
