"""All near pairs between the clusters of one group and the border rows of others, for the greedy rule.

A pair counts from the earlier row, which is kept, to the later one, which may have to go. The border rows are those that
the cross-cluster stage compares, so these pairs are among those that its tables were made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.tables import read_parquet
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.files import layout
from curator_dask.stages.cross_cluster.incoming_rows import Comparison, incoming_rows
from curator_dask.stages.cross_cluster.members import ScoredRows, group_members
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask

Masks = Mapping[int, NDArray[np.bool_]]
"""Cluster → (N,) rows of it, by their places in its ranking."""


@dataclass(frozen=True)
class NearRows:
    """P pairs of near rows in different clusters, each of a kept row and one that ranks after it.

    Attributes:
        kept_cluster, kept_place: (P,) int64, the cluster of the kept row, and its place in the ranking of that cluster.
        cluster, place: (P,) int64, those of the later row.
        cosine: (P,) float32.
    """

    kept_cluster: Indices
    kept_place: Indices
    cluster: Indices
    place: Indices
    cosine: NDArray[np.float32]

    @staticmethod
    def joined(parts: list[NearRows]) -> NearRows:
        no, none = np.zeros(0, np.int64), np.zeros(0, np.float32)
        every = [NearRows(no, no, no, no, none), *parts]
        return NearRows(
            np.concatenate([part.kept_cluster for part in every]),
            np.concatenate([part.kept_place for part in every]),
            np.concatenate([part.cluster for part in every]),
            np.concatenate([part.place for part in every]),
            np.concatenate([part.cosine for part in every]),
        )

    def take(self, some: NDArray[np.bool_] | Indices) -> NearRows:
        return NearRows(
            self.kept_cluster[some], self.kept_place[some], self.cluster[some], self.place[some], self.cosine[some]
        )


def near_rows_of_group(task: GroupTask, eps: float, kept: Masks) -> NearRows:
    """The pairs of a row of `kept` and a later row within `eps` of it, where one of them lies in the group's clusters.

    The later row is one whose table calls it a duplicate; no other can have an earlier row so near.

    Args:
        kept: of all clusters.
    """
    numbers = [cluster.number for cluster in task.clusters]
    asked = {number: kept[number].any() or _has_duplicates(task.spec, number, eps) for number in numbers}
    if not any(asked.values()):
        return NearRows.joined([])
    found: list[NearRows] = []
    group = group_members(task)
    for incoming, of_clusters in incoming_rows(task, group):
        new = _chosen_of(incoming, kept)
        for number, chosen in of_clusters:
            if asked[number] and (kept[number].any() or new[chosen].any()):
                comparison = Comparison.of(group, incoming, chosen, number)
                kept_members = kept[number][comparison.members.places]
                found.extend(_near_rows(comparison, eps, (new[chosen], kept_members)))
    return NearRows.joined(found)


def _has_duplicates(spec: CrossClusterSpec, cluster: int, eps: float) -> bool:
    scores = read_parquet(spec.pairwise, layout.pairwise_file(cluster), ["cosine_sim_score"])["cosine_sim_score"]
    return bool(is_duplicate(scores.to_numpy(), eps).any())


def _chosen_of(incoming: ScoredRows, masks: Masks) -> NDArray[np.bool_]:
    """(N,) the incoming rows that the masks of their clusters choose."""
    chosen = np.zeros(len(incoming), np.bool_)
    for cluster in np.unique(incoming.source).tolist():
        own = incoming.source == cluster
        chosen[own] = masks[cluster][incoming.places[own]]
    return chosen


def _near_rows(
    comparison: Comparison, eps: float, kept: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> Iterator[NearRows]:
    """The pairs whose earlier row is an incoming one, then those whose earlier row is a member.

    Args:
        kept: which of the chosen incoming rows, and which members, are kept.
    """
    incoming, members, chosen = comparison.incoming, comparison.members, comparison.chosen
    may_go = is_duplicate(incoming.scores[chosen], eps), is_duplicate(members.scores, eps)
    for by_member, (queries, others) in enumerate(((kept[0], may_go[1]), (may_go[0], kept[1]))):
        query, member, cosine, query_first = comparison.near(
            chosen[np.flatnonzero(queries)], np.flatnonzero(others), eps
        )
        right = query_first != bool(by_member)
        query, member, cosine = query[right], member[right], cosine[right]
        ours = incoming.source[query].astype(np.int64), incoming.places[query]
        theirs = members.source[member].astype(np.int64), members.places[member]
        (kept_cluster, kept_place), (cluster, place) = (theirs, ours) if by_member else (ours, theirs)
        yield NearRows(kept_cluster, kept_place, cluster, place, cosine)
