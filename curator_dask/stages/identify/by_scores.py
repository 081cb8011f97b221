"""Decide by the rules that compare scores with eps: ``pairwise`` and ``greedy``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from curator_dask.data.scored_clusters import ClusterInput, RowSet, RowSources
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.similarity.threshold import chosen_eps
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, has_work, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.across.recorded_comparison import recorded_comparison, were_compared
from curator_dask.stages.identify.across.settle import UNIT as ACROSS_UNIT
from curator_dask.stages.identify.across.settle import Across, settled_from
from curator_dask.stages.identify.across.taken_of_cluster import TakenOfCluster
from curator_dask.stages.identify.choose_eps import choose_eps
from curator_dask.stages.identify.decisions.decision_table import VERSION
from curator_dask.stages.identify.decisions.dropped import DroppedClips, DroppedRows
from curator_dask.stages.identify.decisions.join_record import JOIN_UNIT
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.parts import is_part
from curator_dask.stages.identify.decisions.table_rows import CLUSTER_UNIT, UnitTables, key_of_cluster
from curator_dask.stages.identify.list_clusters import list_clusters, with_near_lists
from curator_dask.stages.identify.recall import measure_recall
from curator_dask.stages.identify.scoped_scores import score_in_scope
from curator_dask.stages.identify.spec import DecideTask, RecallSearch, ScopedScoresTask
from curator_dask.stages.identify.worker import decide_cluster
from curator_dask.stages.workplace import EXCHANGE, workplace

EPS_UNIT, RECALL_UNIT = "eps", "recall"
RECALL_VERSION = 2
"""Version of what counts as found. A recall of an older version is measured again."""


@dataclass(frozen=True)
class ByScores:
    """What one run of the stage decides by scores: its rule, and where its rows and tables lie."""

    state: StageState
    pairwise: Folder
    """The output of the pairwise stage, or of the cross-cluster stage."""
    kmeans: Folder
    clips: Folder | None
    fields: tuple[str, str]
    """The columns with the ids and the vectors."""
    rule: str
    scope: str
    eps: float | None
    target_keep: float | None
    sources: RowSources | None
    """Where the sources of rows are found; None where all pairs count."""
    dropped: DroppedClips | None
    """What the filters drop; None where there are none."""

    def known_units(self, clusters: Sequence[ClusterInput]) -> Sequence[Unit[DecideTask]]:
        """The units that decide; none where the eps is still to be chosen for `target_keep`."""
        if self._scores_anew():
            clusters = self._in_scope(clusters, self._scope_units(clusters, "cpu"))
        eps = self._known_eps(clusters)
        if eps is None:
            return []
        return [self._unit(cluster, self._rule(eps), "cpu") for cluster in self._settled(clusters, eps)]

    def _rule(self, eps: float) -> Rule:
        return Rule(self.rule, eps, self.scope)

    def _scores_anew(self) -> bool:
        """Whether the scores of the pairwise stage are not those that count."""
        return self.sources is not None or self.dropped is not None

    def scored(self, context: RunContext, clusters: Sequence[ClusterInput]) -> Sequence[ClusterInput]:
        """The clusters with scores over the pairs in scope and without dropped clips, where these are not all pairs."""
        if not self._scores_anew():
            return clusters
        units = self._scope_units(clusters, context.cluster.device)
        all_done(
            run_units(context.cluster, self.state, units, score_in_scope, reporter=context.reporter, what="tables")
        )
        return self._in_scope(clusters, units)

    def _scope_units(self, clusters: Sequence[ClusterInput], device: str) -> list[Unit[ScopedScoresTask]]:
        output = self.state.folder
        rows = DroppedRows(output, self.dropped.version) if self.dropped is not None else None
        versions = [one.version for one in (self.sources, rows) if one is not None]
        return [
            Unit(
                f"scores-{cluster.number:06d}",
                digest(cluster.version, *versions),
                ScopedScoresTask(cluster, output, self.scope, self.sources, device, rows),
                str(cluster),
                cluster.share,
            )
            for cluster in clusters
        ]

    def _in_scope(
        self, clusters: Sequence[ClusterInput], units: Sequence[Unit[ScopedScoresTask]]
    ) -> list[ClusterInput]:
        """The clusters with the tables that the units write."""
        return [
            replace(
                one,
                tables=self.state.folder,
                table=layout.scoped_scores_file(one.number),
                version=unit.inputs,
                filtered=unit.task.dropped is not None,
            )
            for one, unit in zip(clusters, units, strict=True)
        ]

    def settle_eps(self, context: RunContext, clusters: Sequence[ClusterInput]) -> float:
        """The eps to decide by; for `target_keep` it is chosen from all scores, once."""
        known = self._known_eps(clusters)
        if known is not None or self.target_keep is None:
            return chosen_eps(known)
        eps = choose_eps(context.cluster.client, clusters, self.target_keep, context.reporter.note)
        self.state.write(UnitRecord(EPS_UNIT, _all_versions(clusters), data={"eps": eps}))
        return eps

    def _known_eps(self, clusters: Sequence[ClusterInput]) -> float | None:
        """The eps that is given, or was chosen for `target_keep`; None where it is still to be chosen."""
        if self.target_keep is None:
            return chosen_eps(self.eps)
        before = self.state.record(EPS_UNIT)
        return float(before.data["eps"]) if before is not None and before.inputs == _all_versions(clusters) else None

    def decide(
        self, context: RunContext, clusters: Sequence[ClusterInput], eps: float,
        gone: Mapping[int, RowSet] | None = None,
    ) -> tuple[UnitsOutcome, DecidedClusters]:  # fmt: skip
        """Decide cluster by cluster. The rows of each that are `gone` are removed anyway, as copies."""
        rule, device = self._rule(eps), context.cluster.device
        clusters = clusters if self._scores_anew() else with_near_lists(clusters, self.pairwise)
        clusters = [_without(cluster, gone[cluster.number]) for cluster in clusters] if gone is not None else clusters
        across, numbers = self._across(clusters, eps), tuple(sorted(cluster.number for cluster in clusters))
        taken = {} if across is None else across.of_clusters(numbers)
        units = [
            self._unit(cluster, rule, device, taken.get(cluster.number), named_later=gone is None)
            for cluster in self._settled(clusters, eps)
        ]
        with self._taken_at_hand(context, across, units):
            outcome = run_units(
                context.cluster, self.state, units, decide_cluster,
                reporter=context.reporter, what="clusters", flush_together=True,
            )  # fmt: skip
        all_done(outcome)
        tables = UnitTables(self.state, CLUSTER_UNIT, numbers)
        inputs = tuple(unit.inputs for unit in units)
        rows = None if across is None else across.taken
        return outcome, DecidedClusters(tables, inputs, rule, rows, tuple(clusters))

    def _compares_kept_rows(self) -> bool:
        """Whether kept rows are compared across clusters: by the greedy rule, where the tables know rows of other clusters."""
        return self.rule == "greedy" and self.scope == "all" and were_compared(self.pairwise)

    def _across(self, clusters: Sequence[ClusterInput], eps: float) -> Across | None:
        """The rows that kept rows of other clusters remove; None where this is not looked for."""
        if not self._compares_kept_rows():
            return None
        if self.dropped is None:
            return Across(self.state, clusters, eps, None)
        left = {cluster.number: cluster for cluster in clusters}
        every = [
            replace(one, version=left[one.number].version, gone=left[one.number].gone)
            if one.number in left
            else replace(one, version="")
            for one in list_clusters(self.pairwise, self.kmeans, *self.fields)
        ]
        return Across(self.state, every, eps, DroppedRows(self.state.folder, self.dropped.version))

    @contextmanager
    def _taken_at_hand(
        self, context: RunContext, across: Across | None, units: Sequence[Unit[DecideTask]]
    ) -> Iterator[None]:
        """Settle these rows, unless an earlier run did. Within the block, their file is there for units that are to be done."""
        if across is None:
            yield
        elif across.is_settled() and not has_work(self.state, units):
            self.state.remove_below(self.state.path(EXCHANGE, ACROSS_UNIT))  # what a run that was killed left
            yield
        else:
            with workplace(context, self.state, here=False, below=across.below) as place:
                if not across.is_settled():
                    folders = (self.pairwise, self.kmeans, self.clips, self.state.folder)
                    across.settle(place, recorded_comparison(*folders, self.fields, context.cluster.device))
                across.taken.write(place, across.by_cluster, sorted(unit.task.cluster.number for unit in units))
                yield

    def _settled(self, clusters: Sequence[ClusterInput], eps: float) -> Sequence[ClusterInput]:
        """The clusters in versions that say that other clusters have a say, where they have."""
        if not self._compares_kept_rows():
            return clusters
        across = settled_from(clusters, eps)
        return [replace(cluster, version=digest(cluster.version, across)) for cluster in clusters]

    def _unit(
        self,
        cluster: ClusterInput,
        rule: Rule,
        device: str,
        taken: TakenOfCluster | None = None,
        *,
        named_later: bool = False,
    ) -> Unit[DecideTask]:
        key = key_of_cluster(CLUSTER_UNIT, cluster.number)
        place = (self.state.folder, self.state.beside_marker(key))
        task = DecideTask(cluster, rule, self.sources, *place, device, taken, named_later)
        return Unit(key, digest(cluster.version, rule.eps, VERSION), task, str(cluster), cluster.share)

    def forget_others(self, clusters: Sequence[ClusterInput], ranked: frozenset[str] | set[str] = frozenset()) -> None:
        """Remove what an earlier run left of clusters that are no longer there."""
        decided = {key_of_cluster(CLUSTER_UNIT, cluster.number) for cluster in clusters} | ranked
        scored = {f"scores-{cluster.number:06d}" for cluster in clusters if self._scores_anew()}
        across = {ACROSS_UNIT} if self._compares_kept_rows() else set()
        known = {key for key in self.state.unit_keys() if not is_part(key)}
        self.state.forget(known - decided - scored - across - {EPS_UNIT, RECALL_UNIT, JOIN_UNIT})

    def recall(
        self, context: RunContext, clusters: Sequence[ClusterInput], eps: float, num_sample: int
    ) -> dict[str, int]:
        """The counts of `measure_recall` for a sample of rows, measured once; none for a sample of 0."""
        if not num_sample:
            return {}
        inputs = digest([cluster.version for cluster in clusters], eps, num_sample, RECALL_VERSION)
        before = self.state.record(RECALL_UNIT)
        if before is not None and before.inputs == inputs:
            return dict(before.counts)
        search = RecallSearch(num_sample, eps, self.scope, self.sources, context.cluster.device)
        counts = measure_recall(context.cluster.client, clusters, search, context.reporter.note)
        self.state.write(UnitRecord(RECALL_UNIT, inputs, counts=counts))
        return counts


def _without(cluster: ClusterInput, gone: RowSet) -> ClusterInput:
    """The cluster in a version that says which of its rows are gone, if any are."""
    return replace(cluster, gone=gone, version=digest(cluster.version, gone.bits.hex())) if gone else cluster


def _all_versions(clusters: Sequence[ClusterInput]) -> str:
    return digest([cluster.version for cluster in clusters])


def all_done(outcome: UnitsOutcome) -> UnitsOutcome:
    """The outcome. Raises an error that names what failed first, if any cluster did."""
    outcome.raise_failures(f"{counted(len(outcome.failures), 'clusters')} could not be decided")
    return outcome
