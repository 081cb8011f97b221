"""Decide which rows of one cluster are removed: the part of the identify stage that runs on workers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import Scores, near_list_of, read_in_order, read_scores
from curator_dask.dedup.decide.rules import ClusterDecisions, decide, decide_by_list, no_duplicates
from curator_dask.dedup.similarity.scope import source_codes
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decisions.decision_table import decision_table, write_decisions_of_unit
from curator_dask.stages.identify.spec import DecideTask


def decide_cluster(task: DecideTask) -> UnitResult:
    """Decide which rows of a cluster are removed; name the nearest kept row of each and the groups they are in."""
    rule = task.rule
    scores = read_scores(task.cluster)
    duplicate = is_duplicate(scores.score, rule.eps)
    taken = _taken(task, len(duplicate))
    if not duplicate.any() and taken is None:  # the vectors need not be read
        table = decision_table(scores, no_duplicates(len(duplicate)))
        return write_decisions_of_unit(task.output, task.table, table, rule)
    best = scores.best()
    # Only a row whose match is not in this table names itself: no row is its own duplicate.
    cross_cluster = duplicate & (best == np.arange(len(best)))
    decisions = _decide(task, scores, duplicate, best, taken, cross_cluster)
    table = decision_table(scores, decisions, cross_cluster=cross_cluster)
    return write_decisions_of_unit(task.output, task.table, table, rule)


def _taken(task: DecideTask, num_rows: int) -> NDArray[np.bool_] | None:
    """(N,) the rows that are removed already; None: none."""
    places = np.zeros(0, np.int64) if task.taken is None else task.taken.places()
    if not len(places) and task.cluster.gone is None:
        return None
    taken = np.zeros(num_rows, np.bool_) if task.cluster.gone is None else task.cluster.gone.mask()
    taken[places] = True
    return taken


def _decide(
    task: DecideTask, scores: Scores, duplicate: NDArray[np.bool_], best: NDArray[np.int64],
    taken: NDArray[np.bool_] | None, cross_cluster: NDArray[np.bool_],
) -> ClusterDecisions:  # fmt: skip
    """Decide from the list that the pairwise stage left, if it did and it reaches to eps; else from the vectors."""
    rule = task.rule
    near = near_list_of(task.cluster, scores, best, rule.eps)
    if near is not None:
        elsewhere = (taken if rule.name == "greedy" else cross_cluster) if task.named_later else None
        return decide_by_list(
            near, lambda: _vectors(task, scores)[0], rule, duplicate, best, taken=taken, elsewhere=elsewhere
        )
    X, sources = _vectors(task, scores)
    return decide(X, rule, duplicate, best, source_codes(sources) if sources is not None else None, taken=taken)


def _vectors(task: DecideTask, scores: Scores) -> tuple[Any, NDArray[Any] | None]:
    """The rows in ranked order, and their sources where these count."""
    X, sources = read_in_order(task.cluster, scores.ids, task.sources)
    return to_device(X, task.device), sources
