"""Which rows of one cluster go, and what there is to tell of each: the worker's half of the identify stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.backend import to_device
from curator_dask.dedup.decisions import Kept
from curator_dask.dedup.rules import Rule, decide
from curator_dask.dedup.scope import source_codes
from curator_dask.dedup.threshold import is_duplicate
from curator_dask.records import UnitRecord
from curator_dask.stages.ranked import ClusterInput, Scores, SourceOf, read_in_order, read_scores


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
    if not duplicate.any():
        return UnitRecord("", "", counts=counted(duplicate, []), data=decision_data(number, [], scores.ids))
    X, sources = read_in_order(task.given, scores.ids, task.source_of)
    codes = source_codes(sources) if sources is not None else None
    decision = decide(to_device(X, task.device), task.rule, duplicate, scores.best(), codes)
    removed = decision.kept.removed
    rows = removed_rows(number, task.rule, scores, decision.kept)
    stay = [scores.ids[row] for row in np.flatnonzero(~removed).tolist()]
    data = decision_data(number, rows, stay, group_lists(scores.ids, decision.group), _across(task, scores, duplicate))
    return UnitRecord("", "", counts=counted(removed, rows), data=data)


def _across(task: DecideTask, scores: Scores, duplicate: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """What the greedy rule cannot decide in one cluster: duplicates of rows of others, as rows of the table."""
    if task.rule.name != "greedy":
        return []
    own = set(scores.ids)
    foreign = np.array([one not in own for one in scores.max_ids], np.bool_) & duplicate
    nothing = np.full(len(foreign), -1), np.zeros(len(foreign), np.float32)
    return removed_rows(task.given.cluster, task.rule, scores, Kept(foreign, *nothing))


def counted(removed: NDArray[np.bool_], rows: Sequence[Any]) -> dict[str, int]:
    """Counts of a cluster's decisions; orphans are removed rows without a kept row within eps."""
    return {
        "rows": len(removed),
        "kept": int((~removed).sum()),
        "removed": int(removed.sum()),
        "orphans": sum(row["kept_score"] < 1 - row["eps"] for row in rows),
    }


def decision_data(
    cluster: int,
    removed: list[dict[str, Any]],
    kept: list[Any],
    groups: Sequence[list[Any]] = (),
    across: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """What a unit's record holds for `across_clusters.joined`: `removed_rows`, ids, and `group_lists`."""
    return {"cluster": cluster, "removed": removed, "kept": kept, "groups": list(groups), "across": list(across)}


def removed_rows(cluster: int, rule: Rule, scores: Scores, kept: Kept) -> list[dict[str, Any]]:
    """A row of the table of duplicates for each removed row; without a kept row in scope, `kept_id` is None."""
    return [
        {
            "id": scores.ids[row],
            "kept_id": scores.ids[int(kept.index[row])] if kept.index[row] >= 0 else None,
            "max_id": scores.max_ids[row],
            "cosine_sim_score": float(scores.score[row]),
            "kept_score": float(kept.score[row]),
            "cluster": cluster,
            "eps": rule.eps,
            "reason": "near-duplicate",
        }
        for row in np.flatnonzero(kept.removed).tolist()
    ]


def group_lists(ids: Sequence[Any], group: NDArray[np.int64]) -> list[list[Any]]:
    """The ids of each group of two or more, in ranked order: the first stands for the group."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return [[ids[row] for row in part.tolist()] for part in np.split(order, starts[1:]) if len(part) > 1]
