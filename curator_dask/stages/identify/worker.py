"""Decide which rows of one cluster are removed: the part of the identify stage that runs on workers."""

from __future__ import annotations

import numpy as np

from curator_dask.data.scored_clusters import read_in_order, read_scores
from curator_dask.dedup.decide.rules import decide, no_duplicates
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
    if not duplicate.any() and not task.taken:  # the vectors need not be read
        table = decision_table(scores, no_duplicates(len(duplicate)))
        return write_decisions_of_unit(task.output, task.table, table, rule)
    X, sources = read_in_order(task.cluster, scores.ids, task.sources)
    codes = source_codes(sources) if sources is not None else None
    best = scores.best()
    taken = np.zeros(len(best), np.bool_)
    taken[list(task.taken)] = True
    decisions = decide(to_device(X, task.device), rule, duplicate, best, codes, taken=taken if task.taken else None)
    # Only a row whose match is not in this table names itself: no row is its own duplicate.
    cross_cluster = duplicate & (best == np.arange(len(best)))
    table = decision_table(scores, decisions, cross_cluster=cross_cluster)
    return write_decisions_of_unit(task.output, task.table, table, rule)
