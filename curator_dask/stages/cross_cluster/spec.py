"""What a worker of the cross-cluster stage is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder

INTERMEDIATE = "_between"  # an older word; files of stopped runs lie there, so it stays
"""Folder of the files between the passes, below the output. The stage removes them at its end."""
MISSED = "missed_per_1000"
"""The count of rows, times 1000, whose near rows are thought to be missed."""


@dataclass(frozen=True)
class Cluster:
    """A cluster's files in the k-means output."""

    number: int
    paths: tuple[str, ...]
    num_bytes: int


@dataclass(frozen=True)
class ClusterGroups:
    """All clusters, ascending by number, and the groups that they are handled in."""

    clusters: tuple[Cluster, ...]
    groups: tuple[tuple[int, ...], ...]
    """The clusters of each group, as indices into `clusters`."""

    def __len__(self) -> int:
        return len(self.groups)

    def members(self, group: int) -> tuple[Cluster, ...]:
        """The clusters of a group."""
        return tuple(self.clusters[index] for index in self.groups[group])

    def title(self, group: int) -> str:
        """A name of the group for people, such as ``clusters 0, 4, 7 and 2 more``."""
        members = self.members(group)
        more = f" and {len(members) - 3} more" if len(members) > 3 else ""
        return f"clusters {', '.join(str(cluster.number) for cluster in members[:3])}{more}"

    @cached_property
    def numbers(self) -> Indices:
        """(k,) the numbers of the clusters, ascending."""
        return np.array([cluster.number for cluster in self.clusters])

    @cached_property
    def by_number(self) -> dict[int, Cluster]:
        return {cluster.number: cluster for cluster in self.clusters}

    @cached_property
    def group_of(self) -> Indices:
        """(k,) the group of each cluster."""
        found = np.empty(len(self.clusters), np.int64)
        for group, indices in enumerate(self.groups):
            found[list(indices)] = group
        return found

    @staticmethod
    def cut(clusters: Sequence[Cluster], order: Sequence[int] | Indices, group_bytes: float) -> ClusterGroups:
        """Groups of at least `group_bytes` each, but for the last one, from the clusters in the given order.

        Args:
            order: (k,) indices into `clusters`.

        Clusters 0 to 4 of 3, 1, 2, 5 and 1 bytes, in the order 0 2 1 4 3, in groups of at least 4 bytes::

            cluster   0  2 | 1  4  3
            bytes     3  2 | 1  1  5     groups ((0, 2), (1, 4, 3))
        """
        groups: list[list[int]] = [[]]
        for index in map(int, order):
            if sum(clusters[other].num_bytes for other in groups[-1]) >= group_bytes:
                groups.append([])
            groups[-1].append(index)
        return ClusterGroups(tuple(clusters), tuple(map(tuple, groups)))


@dataclass(frozen=True)
class CrossClusterSpec:
    """What all units of a run have in common."""

    input: Folder
    """The output of the k-means stage."""
    pairwise: Folder
    output: Folder
    id_field: str
    embedding_field: str
    embedding_dim: int | None
    """The expected number of dimensions; None: any."""
    strategy: RankingStrategy
    index: ClipIndex | None
    """The clip index whose columns can rank; None where the ranking needs none."""
    eps: float
    budget: float
    recall: float | None
    tile_rows: int
    groups: ClusterGroups
    device: str


@dataclass(frozen=True)
class GroupTask:
    """One cluster group to handle."""

    spec: CrossClusterSpec
    group: int

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return self.spec.groups.members(self.group)
