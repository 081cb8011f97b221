"""Which rows of one cluster go, and what there is to tell of each: the worker's half of the identify stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator_dask.data.scored_clusters import ClusterInput, SourceOf, read_in_order, read_scores
from curator_dask.dedup.decide.decisions import Kept
from curator_dask.dedup.decide.rules import Rule, decide
from curator_dask.dedup.decide.threshold import is_duplicate
from curator_dask.dedup.similarity.scope import source_codes
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decision_table import decided


@dataclass(frozen=True)
class DecideTask:
    given: ClusterInput
    rule: Rule
    source_of: SourceOf | None
    """None where all pairs count."""
    device: str


def decide_cluster(task: DecideTask) -> UnitResult:
    """On a worker: which rows of one cluster go, the nearest kept row of each, and the groups they are in."""
    number = task.given.cluster
    scores = read_scores(task.given)
    duplicate = is_duplicate(scores.score, task.rule.eps)
    itself = np.arange(len(duplicate))
    if not duplicate.any():
        return decided(number, task.rule, scores, Kept(duplicate, itself, np.zeros(len(itself), np.float32)), itself)
    X, sources = read_in_order(task.given, scores.ids, task.source_of)
    codes = source_codes(sources) if sources is not None else None
    best = scores.best()
    decision = decide(to_device(X, task.device), task.rule, duplicate, best, codes)
    foreign = duplicate & (best == itself)  # no row is its own twin
    return decided(number, task.rule, scores, decision.kept, decision.group, foreign=foreign)
