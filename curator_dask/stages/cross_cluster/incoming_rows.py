"""Rows of other groups that are compared with the clusters of one group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array
from curator_dask.dedup.cross_cluster.borders import Centroids
from curator_dask.dedup.cross_cluster.near_pairs import find_near_pairs
from curator_dask.dedup.cross_cluster.scores import ComparedRows, CrossClusterScores, Indices, score_cross_cluster
from curator_dask.dedup.cross_cluster.sketch import sketch
from curator_dask.runtime.device import to_device
from curator_dask.stages.cross_cluster.border_files import (
    PLACE,
    SCORE,
    SKETCH,
    SOURCE,
    VECTOR,
    fetch_vectors,
    read_incoming,
)
from curator_dask.stages.cross_cluster.match_files import MATCH_COLUMNS
from curator_dask.stages.cross_cluster.read_clusters import Rows, places_of, read_prepared_centroids
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Members:
    """The members of one cluster, with which incoming rows are compared."""

    cluster: int
    rows: Rows
    X: NDArray[np.float32]
    """(N, D)"""
    places: Indices
    """(N,) their places in the cluster's ranking."""
    scores: NDArray[np.float32]
    """(N,) their scores within the cluster."""


@dataclass(frozen=True)
class IncomingRows:
    """Border rows of other groups that are compared with clusters of this one."""

    spec: CrossClusterSpec
    rows: Rows
    group: Indices
    """(N,) the groups they come from, whose files hold their vectors."""
    place: NDArray[np.int32]
    """(N,) the places of their vectors in these files."""
    sketches: Array
    """(N, width) on the device."""
    scores: NDArray[np.float32]
    centroids: Centroids

    @staticmethod
    def of(spec: CrossClusterSpec, table: pa.Table, group: Indices) -> IncomingRows:
        """From a table that `read_incoming` returned, with the group that each row comes from."""
        sketches = np.concatenate([chunk.flatten().to_numpy() for chunk in table[SKETCH].chunks])
        sketches = to_device(sketches.reshape(len(table), -1).astype(np.float32), spec.device)
        place, scores = table[VECTOR].to_numpy(), table[SCORE].to_numpy()
        rows = Rows.of(spec, table.drop_columns([SKETCH, SCORE, VECTOR]))
        return IncomingRows(spec, rows, group, place, sketches, scores, read_prepared_centroids(spec))

    @property
    def dim(self) -> int:
        return int(self.centroids.steps.shape[1])

    def sketch_width(self, cluster: int) -> int:
        """How many numbers of a sketch are compared with the members of a cluster; 0 where whole rows are."""
        index = np.searchsorted(self.spec.groups.numbers, cluster)
        width = int(self.centroids.sketch_widths(self.spec.eps)[index])
        return width if width < self.dim else 0

    def compare(self, chosen: Indices, members: Members) -> CrossClusterScores:
        """Compare some of the rows with the members of a cluster."""
        width = self.sketch_width(members.cluster)
        X = to_device(members.X, self.spec.device)
        sketches = sketch(X, self.sketches.shape[1]) if width else None
        return score_cross_cluster(
            self._queries(chosen),
            ComparedRows.of(X, sketches, members.scores),
            lambda query, member: self._order(chosen[query], members.rows, member),
            self.spec.eps,
            width=width,
            tile_rows=self.spec.tile_rows,
        )

    def near(
        self, chosen: Indices, members: Members, some: Indices, eps: float
    ) -> tuple[Indices, Indices, NDArray[np.float32], NDArray[np.bool_]]:
        """All pairs within `eps` of a chosen row and one of some members: both, their cosines, and whether the row is first."""
        width = self.sketch_width(members.cluster)
        X = to_device(members.X[some], self.spec.device)
        sketches = sketch(X, self.sketches.shape[1]) if width and len(some) else None
        pairs = find_near_pairs(
            self._queries(chosen), ComparedRows.of(X, sketches), eps,
            looked_for=self.spec.eps, width=width, tile_rows=self.spec.tile_rows,
        )  # fmt: skip
        query, member = chosen[pairs.query], some[pairs.member]
        places = self._order(query, members.rows, member)
        return query, member, pairs.cosine, places[0] < places[1]

    def _queries(self, chosen: Indices) -> ComparedRows:
        """Some of the rows as queries; their vectors are fetched where they are needed."""

        def fetch(some: Indices) -> Array:
            rows = chosen[some]
            X = fetch_vectors(self.spec.output, self.group[rows], self.place[rows], self.dim)
            return to_device(X, self.spec.device)

        sketches = self.sketches[to_device(chosen, self.spec.device)]
        return ComparedRows(len(chosen), self.dim, fetch, sketches, self.scores[chosen])

    def _order(self, query: Indices, members: Rows, member: Indices) -> tuple[Indices, Indices]:
        """The places of some of the rows and of some members in a ranking of both."""
        rows = self.rows
        keys = {name: np.concatenate([rows.keys[name][query], members.keys[name][member]]) for name in members.keys}
        places = places_of(self.spec.strategy.rank(keys, np.concatenate([rows.ids[query], members.ids[member]])))
        return places[: len(query)], places[len(query) :]

    def matches(self, chosen: Indices, members: Members, scores: CrossClusterScores) -> list[dict[str, Any]]:
        """The columns of `MATCH_COLUMNS` by name, for the matches of the chosen rows and for those of the members."""
        columns, id_field = self.rows.columns, self.spec.id_field
        member = np.full(len(members.places), members.cluster), members.places, members.rows.columns[id_field]
        query = (
            columns[SOURCE].to_numpy()[chosen], columns[PLACE].to_numpy()[chosen], columns[id_field].take(chosen)
        )  # fmt: skip
        found = []
        for partial, (cluster, place, _), (other, other_place, other_ids) in (
            (scores.queries, query, member),
            (scores.members, member, query),
        ):
            row = np.flatnonzero(partial.index >= 0)
            best = partial.index[row]
            ids = other_ids.combine_chunks().take(best)
            values = (cluster[row], place[row], partial.cosine[row], other[best], other_place[best], ids)
            found.append(dict(zip(MATCH_COLUMNS, values, strict=True)))
        return found


def incoming_rows(task: GroupTask) -> Iterator[IncomingRows]:
    """The rows that other groups send to this one, a limited number at a time."""
    spec = task.spec
    for table, group in read_incoming(spec.output, task.group, len(spec.groups)):
        yield IncomingRows.of(spec, table, group)
