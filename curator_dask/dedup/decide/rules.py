"""Decide on a ranked cluster by one of the two rules that compare scores with eps, over the pairs in scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module
from curator_dask.dedup.decide.decisions import Removals, greedy_keep, nearest_kept
from curator_dask.dedup.decide.groups import duplicate_groups
from curator_dask.dedup.decide.near_rows import NearRows
from curator_dask.dedup.similarity.near_list import NearList
from curator_dask.dedup.similarity.pairs import Side, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS
from curator_dask.dedup.similarity.scope import other_sources, parts_in_scope
from curator_dask.errors import ParameterError

RULES: Final = ("pairwise", "greedy", "overlap")
AUTO: Final = "auto"
"""Leaves the choice of the rule to what there is to decide by."""
RULES_BY_SCORE: Final = RULES[:2]
"""The rules that compare scores with eps."""


def check_rule(rule: str, rules: Sequence[str] = RULES) -> None:
    if rule not in rules:
        raise ParameterError(f"rule must be one of {', '.join(rules)}, got {rule!r}")


@dataclass(frozen=True, slots=True)
class Rule:
    """When a row is removed."""

    name: str
    """``"pairwise"``: if it is similar to any earlier row; ``"greedy"``: if it is similar to a kept earlier row.
    (``"overlap"``, which knows no eps, is decided by `cover`.)"""
    eps: float
    scope: str = "all"


@dataclass(frozen=True, slots=True)
class ClusterDecisions(Removals):
    """Which rows of a cluster are removed, and why; on the host."""

    group: NDArray[np.int64]
    """(N,) the first row of the group of duplicates that each row is in; itself where it is in none."""


def no_duplicates(num_rows: int) -> ClusterDecisions:
    """Every row is kept, and in no group."""
    rows = np.arange(num_rows)
    return ClusterDecisions(np.zeros(num_rows, np.bool_), rows, np.zeros(num_rows, np.float32), rows.copy())


def decide(
    X: Array,
    rule: Rule,
    duplicate: NDArray[np.bool_],
    best: NDArray[np.int64],
    sources: NDArray[np.int64] | None = None,
    *,
    taken: NDArray[np.bool_] | None = None,
    tile_rows: int = TILE_ROWS,
) -> ClusterDecisions:
    """Decide on the rows of a cluster.

    The chain of `decisions`, rows at 0°, 5° and 10° at eps 0.01. The rows of source 1 are passed over in the second
    call, as only pairs of different sources count: row 2 has no kept row then.

    >>> angle = np.radians([0, 5, 10])
    >>> X = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    >>> duplicate, best = np.array([False, True, True]), np.array([0, 0, 1])
    >>> decide(X, Rule("greedy", 0.01), duplicate, best).kept_row.tolist()
    [0, 0, 2]
    >>> decisions = decide(X, Rule("pairwise", 0.01, "cross"), duplicate, best, sources=np.array([1, 2, 1]))
    >>> decisions.removed.tolist(), decisions.kept_row.tolist(), decisions.group.tolist()
    ([False, True, True], [0, 0, -1], [0, 0, 0])

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        duplicate: (N,) rows with a score of at least ``1 - eps`` (scores over the pairs in scope), on the host.
        best: (N,) int64, the earlier row that the score comes from.
        sources: (N,) int64, on the host; needed for any scope but ``"all"``.
        taken: (N,) rows that a kept row of another cluster removes, for the greedy rule and the scope ``"all"``.
    """
    num_rows = X.shape[0]
    decisions = no_duplicates(num_rows)
    others = other_sources(rule.scope, sources)
    for part in parts_in_scope(rule.scope, sources, num_rows):
        if not duplicate[part].any() and taken is None:
            continue
        rows = np.arange(num_rows)[part]
        whole = side(X if len(rows) == num_rows else X[array_module(X).asarray(rows)])
        best_in_part = np.searchsorted(rows, best[part])
        gone = None if taken is None else taken[part]
        found = _decide_part(whole, rule, duplicate[part], best_in_part, others, gone, tile_rows)
        decisions.removed[part], decisions.kept_score[part] = found.removed, found.kept_score
        decisions.kept_row[part] = np.append(rows, -1)[found.kept_row]
        decisions.group[part] = rows[found.group]
    return decisions


def decide_by_list(
    near: NearList,
    vectors: Callable[[], Array],
    rule: Rule,
    duplicate: NDArray[np.bool_],
    best: NDArray[np.int64],
    *,
    taken: NDArray[np.bool_] | None = None,
    elsewhere: NDArray[np.bool_] | None = None,
    tile_rows: int = TILE_ROWS,
) -> ClusterDecisions:
    """As `decide` for the scope ``"all"``, from a list of all pairs within the eps of the rule.

    Two rows that were listed as a pair, and no vectors:

    >>> near = NearList(0.01, np.array([1]), np.array([0]), np.array([0.995 * 2**24]))
    >>> duplicate, best = np.array([False, True, False]), np.array([0, 0, 2])
    >>> decide_by_list(near, lambda: None, Rule("pairwise", 0.01), duplicate, best).kept_row.tolist()
    [0, 0, 2]

    Args:
        vectors: gives the rows, (N, D). It is asked only if a removed row has no kept row within eps.
        elsewhere: (N,) rows whose kept row is looked for elsewhere, if they have none within eps: it is -1 here, the score 0.
    """
    rows = NearRows.from_list(near)
    return _decide_by_pairs(rows, lambda: side(vectors()), rule, duplicate, best, None, taken, tile_rows, elsewhere)


def _decide_part(
    whole: Side,
    rule: Rule,
    duplicate: NDArray[np.bool_],
    best: NDArray[np.int64],
    sources: NDArray[np.int64] | None,
    taken: NDArray[np.bool_] | None,
    tile_rows: int,
) -> ClusterDecisions:
    """Decide on rows all pairs of which count, or all those of different sources: from a list of near pairs, or tile by tile."""
    near = NearRows.of(whole, rule.eps, duplicate, sources, tile_rows)
    if near is None:
        removed = duplicate if rule.name != "greedy" else _greedy(whole, rule, duplicate, sources, taken, tile_rows)
        nearest = nearest_kept(whole, removed, sources=sources, tile_rows=tile_rows)
        group = duplicate_groups(whole, rule.eps, duplicate, best, sources=sources, tile_rows=tile_rows)
        return ClusterDecisions(removed, nearest.kept_row, nearest.kept_score, group)
    return _decide_by_pairs(near, lambda: whole, rule, duplicate, best, sources, taken, tile_rows)


def _decide_by_pairs(
    near: NearRows, whole: Callable[[], Side], rule: Rule, duplicate: NDArray[np.bool_], best: NDArray[np.int64],
    sources: NDArray[np.int64] | None, taken: NDArray[np.bool_] | None, tile_rows: int,
    elsewhere: NDArray[np.bool_] | None = None,
) -> ClusterDecisions:  # fmt: skip
    removed = duplicate if rule.name != "greedy" else near.removed_by_kept(len(duplicate), taken)
    nearest = near.nearest_kept(whole, removed, sources, tile_rows, elsewhere)
    return ClusterDecisions(removed, nearest.kept_row, nearest.kept_score, near.groups(duplicate, best))


def _greedy(
    whole: Side, rule: Rule, duplicate: NDArray[np.bool_], sources: NDArray[np.int64] | None,
    taken: NDArray[np.bool_] | None, tile_rows: int,
) -> NDArray[np.bool_]:  # fmt: skip
    found = greedy_keep(whole.rows, rule.eps, candidates=duplicate, sources=sources, taken=taken, tile_rows=tile_rows)
    return found.removed
