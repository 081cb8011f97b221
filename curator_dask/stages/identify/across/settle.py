"""Settle once which rows the greedy rule removes for rows of other clusters, and keep that beside the decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.names import counted
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec
from curator_dask.stages.cross_cluster.stage import group_units
from curator_dask.stages.cross_cluster.worker import find_group_borders
from curator_dask.stages.identify.across.find_taken import Rounds
from curator_dask.stages.identify.across.taken_of_cluster import TakenOfCluster
from curator_dask.stages.identify.across.taken_rows import TakenRows
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.workplace import Workplace, exchange_folder

UNIT = "across"
VERSION = 1
"""Version of how rows are settled. What an older one settled is settled again."""


def settled_from(clusters: Sequence[ClusterInput], eps: float) -> str:
    """Digest of all that the rows of other clusters depend on."""
    return digest([cluster.version for cluster in clusters], eps, VERSION)


@dataclass(frozen=True)
class Across:
    """The rows that kept rows of other clusters remove."""

    state: StageState
    clusters: Sequence[ClusterInput]
    """All clusters, with all of their rows. Their versions tell which rows are gone or dropped."""
    eps: float
    dropped: DroppedRows | None
    """What the filters drop; None where there are none."""

    @cached_property
    def below(self) -> str:
        """The folder of the files that tasks hand on to each other."""
        return exchange_folder(self.state, UNIT)

    @property
    def by_cluster(self) -> str:
        """The file in it that tells each cluster which of its rows are removed."""
        return f"{self.below}/by-cluster.arrow"

    def of_clusters(self, numbers: Sequence[int]) -> dict[int, TakenOfCluster]:
        """Cluster → where it finds them, for the clusters that decisions are made on, ascending."""
        return {one: TakenOfCluster(self.state.folder, self.by_cluster, at) for at, one in enumerate(numbers)}

    @property
    def taken(self) -> TakenRows:
        """These rows, once they are settled."""
        return TakenRows(self.state, self.state.beside_marker(UNIT), self.clusters, self.dropped)

    def is_settled(self) -> bool:
        """Whether an earlier run settled them."""
        return self.state.done_units([UNIT]).get(UNIT) == settled_from(self.clusters, self.eps)

    def settle(self, place: Workplace, spec: CrossClusterSpec) -> None:
        """Settle them: write the table of these rows, and then the record."""
        made_from = settled_from(self.clusters, self.eps)
        _find_borders(place.context, self.state, spec, made_from)
        rounds = Rounds(place, self.clusters, spec, self.eps, self.dropped)
        result = rounds.run(self.state.beside_marker(UNIT))
        self.state.write(UnitRecord.of(UNIT, made_from, result))
        self.state.forget([unit.key for unit in group_units("borders", spec, made_from)])


def _find_borders(context: RunContext, state: StageState, spec: CrossClusterSpec, made_from: str) -> None:
    """Write the border rows of all groups, as the cross-cluster stage did."""
    units = group_units("borders", spec, made_from)
    done = run_units(
        context.cluster, state, units, find_group_borders, reporter=context.reporter, what="groups (borders)"
    )
    done.raise_failures(f"{counted(len(done.failures), 'groups')} of clusters could not be compared")
