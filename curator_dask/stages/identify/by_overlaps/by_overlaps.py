"""Decide by the rule ``overlap``: what one run of the stage has to do, and what an earlier run did already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.content_hash import NAMES_CONTENT
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, OVERLAPS_TABLE
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_groups import ToDecide, groups_to_decide
from curator_dask.stages.identify.by_overlaps.join_both import CopiesFirst
from curator_dask.stages.identify.by_overlaps.join_overlaps import join_overlaps
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.decisions.decision_table import VERSION
from curator_dask.stages.identify.decisions.dropped import DroppedClips, DroppedRows
from curator_dask.stages.identify.decisions.join_record import Joined, depends_on, record_join, recorded_join
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.output.publish import publish_again
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.overlap.find_ranking import recorded_ranking
from curator_dask.stages.identify.overlap.ranked_rows import list_ranked_rows
from curator_dask.stages.identify.overlap.reference import reference_numbers, require_index
from curator_dask.stages.identify.overlap.spec import RankedRowsTask
from curator_dask.stages.identify.source_groups.staying import StayingSet

JOIN_VERSION: Final = 1
"""Version of how rows are decided on. What an older one decided is decided again."""


def check_references(folders: Sequence[Folder]) -> None:
    """Raise InputError if there is no other output in one of these folders."""
    for folder in folders:
        require_index(folder)


@dataclass(frozen=True)
class ByOverlaps:
    """What one run of the stage decides by overlaps, and where its rows lie."""

    state: StageState
    scored: Folder
    """The output of the pairwise stage, or of the cross-cluster stage."""
    clips: Folder | None
    overlaps: Folder
    against: Sequence[Folder]
    min_cover: float
    scope: str
    target_keep: float | None
    prefix: str
    """The keys of the units that list rows begin so."""

    def units(self, clusters: Sequence[ClusterInput]) -> list[Unit[RankedRowsTask]]:
        """One unit per cluster, which lists its rows with what ranks them."""
        strategy, index = recorded_ranking(self.scored, self.clips)
        version = index.version if index is not None else ""
        units = []
        for cluster in clusters:
            key = key_of_cluster(self.prefix, cluster.number)
            task = RankedRowsTask(cluster, strategy, index, self.state.folder, self.state.beside_marker(key))
            units.append(Unit(key, digest(cluster.version, version, asdict(strategy), VERSION), task, str(cluster)))
        return units

    def list_rows(self, context: RunContext, clusters: Sequence[ClusterInput]) -> tuple[set[str], UnitsOutcome]:
        """List the rows of all clusters; returns the keys of the units too."""
        units = self.units(clusters)
        done = run_units(
            context.cluster, self.state, units, list_ranked_rows, reporter=context.reporter, what="clusters"
        )
        return {unit.key for unit in units}, done

    @cached_property
    def _rule(self) -> OverlapRule:
        strategy, _ = recorded_ranking(self.scored, self.clips)
        return OverlapRule(self.min_cover, self.scope, self.target_keep, strategy)

    def _tables(self, clusters: Sequence[ClusterInput]) -> UnitTables:
        return UnitTables(self.state, self.prefix, tuple(sorted(cluster.number for cluster in clusters)))

    def decide(
        self, context: RunContext, clusters: Sequence[ClusterInput], dropped: DroppedClips | None,
        overrides: Mapping[str, Any] | None,
    ) -> Joined:  # fmt: skip
        """Decide on all rows that were listed, and write the files, unless an earlier run did so from the same.

        Args:
            overrides: what a person decided, by id; None: nobody had a say.
        """
        what = self._what(clusters, dropped, overrides)
        inputs = self._inputs(clusters, what)
        if inputs and (before := recorded_join(self.state, inputs)) is not None:
            publish_again(context, self.state, before.paths, before.joined.counts["rows"])
            return before.joined
        found = join_overlaps(context, self.state, what)
        if inputs:
            record_join(self.state, inputs, found)
        return found

    @contextmanager
    def copies_first(
        self, context: RunContext, clusters: Sequence[ClusterInput], dropped: DroppedClips | None,
        overrides: Mapping[str, Any] | None,
    ) -> Iterator[CopiesFirst]:  # fmt: skip
        """The copies among all rows that were listed. Their files are there within the block."""
        with groups_to_decide(context, self.state, self._what(clusters, dropped, overrides)) as groups:
            yield CopiesFirst(self.state, groups)

    def _what(
        self, clusters: Sequence[ClusterInput], dropped: DroppedClips | None, overrides: Mapping[str, Any] | None
    ) -> ToDecide:
        gone = None if dropped is None else DroppedRows(self.state.folder, dropped.version)
        numbers = reference_numbers(self.overlaps, self.against)
        staying = [
            StayingSet.of_output(place, *one) for place, one in enumerate(zip(numbers, self.against, strict=True))
        ]
        return ToDecide(self._tables(clusters), self.overlaps, self._rule, staying, gone, self.clips, overrides)

    def _inputs(self, clusters: Sequence[ClusterInput], what: ToDecide) -> str:
        """Digest of all that the decisions depend on; "" where that is not known: what other outputs kept may change."""
        if self.against:
            return ""
        paths = [path for path in (CLIP_INDEX, OVERLAPS_TABLE) if self.overlaps.exists(path)]
        tables = [self.overlaps.content_hash(path, NAMES_CONTENT) for path in paths]
        made_from = [unit.inputs for unit in self.units(clusters)]
        dropped = what.dropped.version if what.dropped is not None else ""
        rule = [JOIN_VERSION, decision_parts.PART_ROWS, asdict(self._rule)]
        return digest(*rule, made_from, tables, dropped, depends_on(self.clips, what.overrides))
