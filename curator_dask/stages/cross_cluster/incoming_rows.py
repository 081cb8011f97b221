"""Rows of other groups that are compared with the clusters of one group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.cross_cluster.near_pairs import find_near_pairs
from curator_dask.dedup.cross_cluster.scores import CrossClusterScores, Indices, score_cross_cluster
from curator_dask.stages.cross_cluster.border_files import read_incoming, rows_by_target
from curator_dask.stages.cross_cluster.match_files import MATCH_COLUMNS
from curator_dask.stages.cross_cluster.members import GroupMembers, ScoredRows
from curator_dask.stages.cross_cluster.read_clusters import Rows, places_of
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask


@dataclass(frozen=True)
class Comparison:
    """Border rows of other groups, and the members of a cluster that they are compared with.

    Attributes:
        incoming: border rows of other groups. chosen: indices of those that are compared.
        members: all of one cluster.
        width: how many numbers of a sketch are compared; 0 where whole rows are.
    """

    spec: CrossClusterSpec
    incoming: ScoredRows
    chosen: Indices
    members: ScoredRows
    width: int

    @staticmethod
    def of(group: GroupMembers, incoming: ScoredRows, chosen: Indices, cluster: int) -> Comparison:
        return Comparison(group.spec, incoming, chosen, group.read(cluster), group.widths[cluster])

    def scores(self) -> CrossClusterScores:
        """The best match of each row, among those with a higher cosine than its score."""
        every = np.arange(len(self.members))
        return score_cross_cluster(
            self.incoming.compared(self.chosen),
            self.members.compared(every),
            lambda query, member: self._order(self.chosen[query], member),
            self.spec.eps,
            width=self.width,
            tile_rows=self.spec.tile_rows,
        )

    def near(
        self, chosen: Indices, some: Indices, eps: float
    ) -> tuple[Indices, Indices, NDArray[np.float32], NDArray[np.bool_]]:
        """All pairs within `eps` of an incoming row and some members: both, their cosines, and whether the row is first."""
        pairs = find_near_pairs(
            self.incoming.compared(chosen), self.members.compared(some), eps,
            looked_for=self.spec.eps, width=self.width, tile_rows=self.spec.tile_rows,
        )  # fmt: skip
        query, member = chosen[pairs.query], some[pairs.member]
        if not len(query):
            return query, member, pairs.cosine, np.zeros(0, np.bool_)
        places = self._order(query, member)
        return query, member, pairs.cosine, places[0] < places[1]

    def _order(self, query: Indices, member: Indices) -> tuple[Indices, Indices]:
        """The places of some incoming rows and of some members in a ranking of both."""
        one, other = (
            Rows.of(self.spec, rows.columns.take(some))
            for rows, some in ((self.incoming, query), (self.members, member))
        )
        keys = {name: np.concatenate([one.keys[name], other.keys[name]]) for name in other.keys}
        places = places_of(self.spec.strategy.rank(keys, np.concatenate([one.ids, other.ids])))
        return places[: len(query)], places[len(query) :]

    def matches(self, scores: CrossClusterScores) -> list[dict[str, Any]]:
        """The columns of `MATCH_COLUMNS` by name, for the matches of the chosen rows and for those of the members."""
        every = np.arange(len(self.members))
        query, member = (scores.queries, self.incoming, self.chosen), (scores.members, self.members, every)
        found = []
        for (partial, rows, some), (_, others, other_rows) in ((query, member), (member, query)):
            own = np.flatnonzero(partial.index >= 0)
            if len(own):
                row, best = some[own], other_rows[partial.index[own]]
                ids = others.columns[self.spec.id_field].take(best).combine_chunks()
                matched = rows.source[row], rows.places[row], partial.cosine[own]
                values = (*matched, others.source[best], others.places[best], ids)
                found.append(dict(zip(MATCH_COLUMNS, values, strict=True)))
        return found


def incoming_rows(task: GroupTask, members: GroupMembers) -> Iterator[tuple[ScoredRows, Iterator[tuple[int, Indices]]]]:
    """The rows that other groups send to this one, a limited number at a time; and those for each cluster, as indices."""
    spec = task.spec
    for table in read_incoming(spec.output, task.group, len(spec.groups)):
        yield ScoredRows.of(spec, table, members.dim), rows_by_target(table)
