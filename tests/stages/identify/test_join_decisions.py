"""Decisions of single clusters, joined: random cases, checked by properties and by an independent search for groups."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.data.scored_clusters import Scores
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.decision_table import decision_table
from curator_dask.stages.identify.decisions.join_decisions import Decisions, join_decisions

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
        return decision_table(self.number, Scores(self.ids, max_ids, score), decisions, cross_cluster=elsewhere)


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
    gone = set(found.ids.filter(found.removed).to_pylist())
    edges = [(part.ids[row], part.ids[0]) for part in parts for row in part.gone]
    edges += [(part.ids[row], match) for part in parts for row, match in part.matches.items() if part.ids[row] in gone]
    groups = {one: {one} for part in parts for one in part.ids}
    for one, other in edges:
        both = groups[one] | groups[other]
        groups.update(dict.fromkeys(both, both))
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@settings(max_examples=150, deadline=None)
@given(parts=clusters(), name=st.sampled_from(["pairwise", "greedy"]))
def test_what_must_hold(parts, name):
    rule = Rule(name, EPS)
    found = join_decisions((part.table(rule) for part in reversed(parts)), rule)
    ids, kept_ids = found.ids.to_pylist(), found.kept_ids.to_pylist()
    assert ids == [one for part in parts for one in part.ids]
    kept = {one for one, gone in zip(ids, found.removed, strict=True) if not gone}
    matches = {part.ids[row]: match for part in parts for row, match in part.matches.items()}
    needed = {part.ids[0] for part in parts if part.gone}
    for one, gone, stands in zip(ids, found.removed, kept_ids, strict=True):
        if name == "pairwise":
            assert gone == (one in matches or one in {part.ids[row] for part in parts for row in part.gone})
        if not gone:
            assert stands is None
            if (
                name == "greedy" and one in matches
            ):  # it is kept only if its match was removed, or if a removed row relies on it
                assert matches[one] not in kept or one in kept_ids or one in needed
        elif name == "greedy":
            assert stands in kept
        elif matches.get(one) in kept:
            assert stands == matches[one]
    rows, first = found.rows_in_groups()
    groups: dict[str, list[str]] = {}
    for row, lead in zip(rows.tolist(), first.tolist(), strict=True):
        groups.setdefault(ids[lead], []).append(ids[row])
    assert {frozenset(group) for group in groups.values()} == components(found, parts)
    assert len(groups) == found.counts()["groups"]
    for lead, members in groups.items():
        standing = [one for one in members if one in kept]
        assert members[0] == lead == (standing or members)[0]
        assert members[1:] == sorted(members[1:], key=ids.index)


def test_clusters_are_joined_by_their_numbers_and_ids_may_be_integers():
    rule = Rule("greedy", EPS)
    parts = [Cluster(11, 2, {1}, {0: 201}, as_int=True), Cluster(2, 2, set(), {}, as_int=True)]
    found = join_decisions([part.table(rule) for part in parts], rule)
    assert found.ids.to_pylist() == [200, 201, 1100, 1101]
    assert found.removed.tolist() == [False, False, False, True]  # 1100 is kept, as 1101 was removed for it
    assert found.kept_ids.to_pylist() == [None, None, None, 1100]
    assert found.counts() == {"kept": 3, "removed": 1, "orphans": 0, "groups": 1}


def test_no_cluster_at_all():
    found = join_decisions([], Rule("pairwise", EPS))
    assert found.counts() == {"kept": 0, "removed": 0, "orphans": 0, "groups": 0}
    assert [part.tolist() for part in found.rows_in_groups()] == [[], []]


def test_a_match_that_is_nowhere_is_an_error():
    rule = Rule("pairwise", EPS)
    with pytest.raises(InputError, match="names '9-9', which is in no cluster"):
        join_decisions([Cluster(0, 2, set(), {1: "9-9"}).table(rule)], rule)


def test_the_worked_example_of_groups():
    nothing = pa.chunked_array([pa.nulls(6, pa.string())])
    removed, group = np.array([0, 1, 1, 0, 0, 0], np.bool_), np.array([0, 1, 0, 3, 1, 0])
    scores = np.zeros(6, np.float32)
    rule = Rule("pairwise", EPS)
    decisions = Decisions(nothing, nothing, nothing, np.zeros(6, np.int64), removed, scores, scores, group, rule)
    assert [part.tolist() for part in decisions.rows_in_groups()] == [[0, 2, 5, 4, 1], [0, 0, 0, 4, 4]]


def test_the_worked_example_of_the_greedy_rule_across_clusters():
    rule = Rule("greedy", EPS)
    for gone, expected in ((set(), ["1-0"]), ({1}, ["1-1", "2-0"])):
        parts = [Cluster(0, 1, set(), {}), Cluster(1, 2, gone, {0: "0-0"}), Cluster(2, 1, set(), {0: "1-0"})]
        decisions = join_decisions([part.table(rule) for part in parts], rule)
        assert decisions.ids.filter(decisions.removed).to_pylist() == expected
