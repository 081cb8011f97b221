"""Which rows of one cluster go, and what there is to tell of each: the worker's half of the identify stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator_dask.backend import to_device
from curator_dask.dedup.decisions import Kept
from curator_dask.dedup.rules import Rule, decide
from curator_dask.dedup.scope import source_codes
from curator_dask.dedup.threshold import is_duplicate
from curator_dask.records import UnitRecord
from curator_dask.stages.decision_table import decided
from curator_dask.stages.ranked import ClusterInput, SourceOf, read_in_order, read_scores


@dataclass(frozen=True)
class DecideTask:
    given: ClusterInput
    rule: Rule
    source_of: SourceOf | None
    """None where all pairs count."""
    device: str


def decide_cluster(task: DecideTask) -> UnitRecord:
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
