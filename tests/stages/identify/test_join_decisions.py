"""Decisions of single clusters, joined: random cases, checked by properties and by an independent search for groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.data.scored_clusters import Scores
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.decision_table import decision_table
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import TableRows, TablesInMemory
from curator_dask.stages.identify.settling.join_decisions import join_decisions
from tests.stages.identify.in_memory import counts_of

EPS = 0.1


class Cluster:
    """Decisions on a cluster: within it, rows are removed for the first row; some match a row of a cluster before it."""

    def __init__(
        self, number: int, size: int, gone: set[int], matches: dict[int, str], *, as_int: bool = False
    ) -> None:
        self.ids = [number * 100 + row if as_int else f"{number}-{row}" for row in range(size)]
        self.gone = {row for row in gone if 0 < row < size}
        self.matches = {row: match for row, match in matches.items() if row < size}
        self.number = number

    def table(self, rule: Rule) -> pa.Table:
        size = len(self.ids)
        elsewhere = np.isin(np.arange(size), list(self.matches))
        within = np.isin(np.arange(size), list(self.gone))
        # The pairwise rule removes a row for any match; the greedy rule does not know yet which matches elsewhere are kept.
        removed = within | (elsewhere & (rule.name == "pairwise"))
        stays = int(np.argmin(removed)) if not removed.all() else -1
        score = np.where(elsewhere, 0.99, np.where(within, 0.95, 0.0)).astype(np.float32)
        kept_row = np.where(removed, stays, np.arange(size))
        kept_score = np.where(within, 0.95, 0.5).astype(np.float32)
        max_ids = [self.matches.get(row, self.ids[0]) for row in range(size)]
        group = np.where(within, 0, np.arange(size))
        decisions = ClusterDecisions(removed, kept_row, kept_score, group)
        return decision_table(Scores(pa.array(self.ids), pa.array(max_ids), score), decisions, cross_cluster=elsewhere)


def join(parts: list[Cluster], rule: Rule) -> Decisions:
    return join_decisions(TablesInMemory({part.number: part.table(rule) for part in parts}), rule)


def all_ids(found: Decisions) -> list[Any]:
    ids: list[Any] = found.rows.ids(np.arange(len(found.rows))).to_pylist()
    return ids


def kept_ids(found: Decisions) -> list[Any]:
    """The id of the kept row of each removed one."""
    ids = all_ids(found)
    return [ids[row] if gone else None for row, gone in zip(found.kept_row, found.removed, strict=True)]


def rows_in_groups(found: Decisions) -> dict[int, list[int]]:
    """Leader → the rows of its group, the leader first."""
    number, leader = (column.tolist() for column in found.groups())
    rows = [row for row in range(len(number)) if number[row] >= 0]
    ordered = sorted(rows, key=lambda row: (number[row], row != leader[row], row))
    return {
        lead: [row for row in ordered if leader[row] == lead] for lead in dict.fromkeys(leader[row] for row in ordered)
    }


@st.composite
def clusters(draw: st.DrawFn) -> list[Cluster]:
    found: list[Cluster] = []
    for number in range(draw(st.integers(1, 5))):
        size = draw(st.integers(1, 6))
        before = [one for cluster in found for one in cluster.ids]
        rows = st.integers(0, size - 1)
        matches = draw(st.dictionaries(rows, st.sampled_from(before), max_size=4)) if before else {}
        found.append(Cluster(number, size, draw(st.sets(rows, max_size=3)), matches))
    return found


def components(found: Decisions, parts: list[Cluster]) -> set[frozenset[str]]:
    gone = {one for one, is_gone in zip(all_ids(found), found.removed, strict=True) if is_gone}
    edges = [(part.ids[row], part.ids[0]) for part in parts for row in part.gone]
    edges += [(part.ids[row], match) for part in parts for row, match in part.matches.items() if part.ids[row] in gone]
    groups = {one: {one} for part in parts for one in part.ids}
    for one, other in edges:
        both = groups[one] | groups[other]
        groups.update(dict.fromkeys(both, both))
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@settings(max_examples=150)
@given(parts=clusters(), name=st.sampled_from(["pairwise", "greedy"]))
def test_what_must_hold(parts, name):
    rule = Rule(name, EPS)
    found = join(list(reversed(parts)), rule)
    ids, stand_for = all_ids(found), kept_ids(found)
    assert ids == [one for part in parts for one in part.ids]
    kept = {one for one, gone in zip(ids, found.removed, strict=True) if not gone}
    matches = {part.ids[row]: match for part in parts for row, match in part.matches.items()}
    needed = {part.ids[0] for part in parts if part.gone}
    for one, gone, stands in zip(ids, found.removed, stand_for, strict=True):
        if name == "pairwise":
            assert gone == (one in matches or one in {part.ids[row] for part in parts for row in part.gone})
        if not gone:
            assert stands is None
            if (
                name == "greedy" and one in matches
            ):  # it is kept only if its match was removed, or if a removed row relies on it
                assert matches[one] not in kept or one in stand_for or one in needed
        elif name == "greedy":
            assert stands in kept
        elif matches.get(one) in kept:
            assert stands == matches[one]
    groups = {ids[lead]: [ids[row] for row in rows] for lead, rows in rows_in_groups(found).items()}
    assert {frozenset(group) for group in groups.values()} == components(found, parts)
    assert len(groups) == counts_of(found)["groups"]
    for lead, members in groups.items():
        standing = [one for one in members if one in kept]
        assert members[0] == lead == (standing or members)[0]
        assert members[1:] == sorted(members[1:], key=ids.index)


def test_clusters_are_joined_by_their_numbers_and_ids_may_be_integers():
    rule = Rule("greedy", EPS)
    parts = [Cluster(11, 2, {1}, {0: 201}, as_int=True), Cluster(2, 2, set(), {}, as_int=True)]
    found = join(parts, rule)
    assert all_ids(found) == [200, 201, 1100, 1101]
    assert found.removed.tolist() == [False, False, False, True]  # 1100 is kept, as 1101 was removed for it
    assert kept_ids(found) == [None, None, None, 1100]
    assert counts_of(found) == {"kept": 3, "removed": 1, "orphans": 0, "groups": 1}


def test_no_cluster_at_all():
    found = join([], Rule("pairwise", EPS))
    assert counts_of(found) == {"kept": 0, "removed": 0, "orphans": 0, "groups": 0}
    assert [part.tolist() for part in found.groups()] == [[], []]


def test_a_match_that_is_nowhere_is_an_error():
    rule = Rule("pairwise", EPS)
    with pytest.raises(InputError, match="names '9-9', which is in no cluster"):
        join([Cluster(0, 2, set(), {1: "9-9"})], rule)


def test_the_worked_example_of_groups():
    removed, group = np.array([0, 1, 1, 0, 0, 0], np.bool_), np.array([0, 1, 0, 3, 1, 0])
    scores = np.zeros(6, np.float32)
    rule = Rule("pairwise", EPS)
    rows = TableRows(TablesInMemory({}), np.array([0]), pa.string())
    nothing = pa.chunked_array([], pa.string())
    decisions = Decisions(rows, removed, group, group, scores, scores, group, rule, nothing)
    assert [part.tolist() for part in decisions.groups()] == [[0, 1, 0, -1, 1, 0], [0, 4, 0, -1, 4, 0]]
    assert rows_in_groups(decisions) == {0: [0, 2, 5], 4: [4, 1]}


def test_the_worked_example_of_the_greedy_rule_across_clusters():
    rule = Rule("greedy", EPS)
    for gone, expected in ((set(), ["1-0"]), ({1}, ["1-1", "2-0"])):
        parts = [Cluster(0, 1, set(), {}), Cluster(1, 2, gone, {0: "0-0"}), Cluster(2, 1, set(), {0: "1-0"})]
        decisions = join(parts, rule)
        assert [one for one, kept in zip(all_ids(decisions), kept_ids(decisions), strict=True) if kept] == expected
