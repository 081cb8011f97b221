"""Similarity tables → decisions: which clips stay, which go, and for each that goes the nearest one that stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import cluster_files, cluster_folders
from curator_dask.data.scored_clusters import ClusterInput, SourceOf
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.threshold import DEFAULT_EPS, chosen_eps
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.storage_options import storage_options
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.identify.choose_eps import choose_eps
from curator_dask.stages.identify.decision_table import VERSION
from curator_dask.stages.identify.joined_decisions import joined
from curator_dask.stages.identify.output_files import CSV, GROUPS, KEEP, REMOVE, TABLE, write_decisions
from curator_dask.stages.identify.parameters import IdentifyParameters
from curator_dask.stages.identify.recall import RecallSearch, measure_recall
from curator_dask.stages.identify.scoped_scores import ScopedScoresTask, score_in_scope
from curator_dask.stages.identify.worker import DecideTask, decide_cluster

__all__ = [
    "CSV",
    "DEFAULT_EPS",
    "GROUPS",
    "KEEP",
    "REMOVE",
    "TABLE",
    "IdentifyDuplicatesStage",
    "identify_duplicates",
]

EPS_UNIT, RECALL_UNIT = "eps", "recall"


@dataclass(frozen=True)
class IdentifyDuplicatesStage(IdentifyParameters, Stage):
    """Remove every row whose ``cosine_sim_score`` is at least 1 − eps; or, by the greedy rule, fewer of them.

    Writes ``duplicates.parquet`` and ``.csv`` (one row a removed clip), ``groups.parquet`` (one row a member of a group
    of duplicates), ``keep.txt`` and ``remove.txt`` (ids, sorted).
    """

    input_path: str
    """The output of the pairwise stage."""
    kmeans_path: str
    """The output of the k-means stage, for the vectors."""
    output_path: str
    id_field: str = "id"
    embedding_field: str = "embedding"
    clips_path: str | None = None
    """The output of the split stage: adds source and times to the table."""
    read_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    write_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)

    name: ClassVar[str] = "identify"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope != "all" and self.source_field is None and self.clips_path is None:
            raise ParameterError(
                f"scope {self.scope!r} needs the sources of rows: give clips_path (the output of the split stage), "
                "or source_field (a column that k-means carried along)"
            )

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, storage_options(self.write_kwargs))

    def folder(self, path: str) -> Folder:
        return Folder(path, storage_options(self.read_kwargs))

    @property
    def clips(self) -> Folder | None:
        return self.folder(self.clips_path) if self.clips_path else None

    @property
    def given_eps(self) -> float | None:
        """The eps as a parameter: None where `target_keep` stands for it."""
        return None if self.target_keep is not None else chosen_eps(self.eps)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.folder(self.input_path).root,
            "kmeans_path": self.folder(self.kmeans_path).root,
            "clips_path": self.clips.root if self.clips else None,
            "eps": self.given_eps,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "rule": self.rule,
            "scope": self.scope,
            "source_field": self.source_field,
            "target_keep": self.target_keep,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        clusters = self._clusters()
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"clusters": len(clusters)})
        state.claim(self.identity(), overwrite=context.overwrite)
        source_of = self._source_of()
        clusters = self._in_scope(context, state, clusters, source_of)
        eps = self._eps(context, state, clusters)
        units = [self._unit(*one, Rule(self.rule, eps, self.scope), source_of, context) for one in clusters]
        outcome = _all_done(
            run_units(context.cluster, state, units, decide_cluster, reporter=context.reporter, what="clusters")
        )
        decided = {unit.key for unit in units}
        self._forget_others(state, decided, clusters)
        found = joined(
            (record for record in state.records() if record.key in decided), Rule(self.rule, eps, self.scope)
        )
        write_decisions(state, found, self.clips)
        counts = {"rows": outcome.counts.get("rows", 0), **found.counts()}
        if self.recall_sample:
            counts |= self._recall(context, state, clusters, eps, source_of)
        state.summarise(counts, {"eps": eps}, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped, tables=(TABLE,)
        )

    def eps_of_finished_run(self) -> float:
        """The eps of a finished run: as given, or as chosen for `target_keep`."""
        summary = StageState(self.output, self.name).summary()
        if summary is None:
            raise InputError(f"{self.output.url} holds no finished run of the identify stage: run it first")
        return float(summary["eps"])

    def _clusters(self) -> list[tuple[ClusterInput, str]]:
        """Every cluster with a digest of its files."""
        tables = cluster_files(self.folder(self.input_path))
        vectors = cluster_folders(self.folder(self.kmeans_path))
        if vectors.keys() != tables.keys():
            raise InputError(
                f"{self.input_path} has {len(tables)} clusters and {self.kmeans_path} has {len(vectors)}, not the same "
                "ones: run the pairwise stage again on these clusters"
            )
        found = []
        for number, table in tables.items():
            files = (table, *vectors[number])
            given = ClusterInput(
                number,
                self.folder(self.input_path),
                table.path,
                self.folder(self.kmeans_path),
                tuple(entry.path for entry in vectors[number]),
                self.id_field,
                self.embedding_field,
                sum(entry.num_bytes for entry in vectors[number]),
            )
            found.append((given, digest([(entry.path, entry.num_bytes, entry.version) for entry in files])))
        return found

    def _source_of(self) -> SourceOf | None:
        if self.scope == "all":
            return None
        if self.source_field is not None or self.clips is None:
            return SourceOf(self.source_field)
        return SourceOf(None, ClipIndex.of(self.clips))

    def _in_scope(
        self,
        context: RunContext,
        state: StageState,
        clusters: Sequence[tuple[ClusterInput, str]],
        source_of: SourceOf | None,
    ) -> list[tuple[ClusterInput, str]]:
        """The clusters with tables over the pairs in scope: those of the pairwise stage, or tables made here."""
        if source_of is None:
            return list(clusters)
        device = context.cluster.device
        units = [
            Unit(
                f"scores-{given.cluster:06d}",
                digest(inputs, source_of.version),
                ScopedScoresTask(given, self.output, self.scope, source_of, device),
                str(given),
                given.share,
            )
            for given, inputs in clusters
        ]
        _all_done(run_units(context.cluster, state, units, score_in_scope, reporter=context.reporter, what="tables"))
        return [
            (replace(given, tables=self.output, table=layout.scoped_scores_file(given.cluster)), unit.inputs)
            for (given, _), unit in zip(clusters, units, strict=True)
        ]

    def _eps(self, context: RunContext, state: StageState, clusters: Sequence[tuple[ClusterInput, str]]) -> float:
        if self.target_keep is None:
            return self.given_eps or 0.0
        inputs = digest([inputs for _, inputs in clusters])
        before = state.record(EPS_UNIT)
        if before is not None and before.inputs == inputs:
            return float(before.data["eps"])
        eps = choose_eps(context.cluster.client, [given for given, _ in clusters], self.target_keep)
        state.write(UnitRecord(EPS_UNIT, inputs, data={"eps": eps}))
        return eps

    def _recall(
        self,
        context: RunContext,
        state: StageState,
        clusters: Sequence[tuple[ClusterInput, str]],
        eps: float,
        source_of: SourceOf | None,
    ) -> dict[str, int]:
        inputs = digest([inputs for _, inputs in clusters], eps, self.recall_sample)
        before = state.record(RECALL_UNIT)
        if before is not None and before.inputs == inputs:
            return dict(before.counts)
        search = RecallSearch(self.recall_sample, eps, self.scope, source_of, context.cluster.device)
        counts = measure_recall(context.cluster.client, [given for given, _ in clusters], search)
        state.write(UnitRecord(RECALL_UNIT, inputs, counts=counts))
        return counts

    def _unit(
        self, given: ClusterInput, inputs: str, rule: Rule, source_of: SourceOf | None, context: RunContext
    ) -> Unit[DecideTask]:
        task = DecideTask(given, rule, source_of, context.cluster.device)
        return Unit(f"cluster-{given.cluster:06d}", digest(inputs, rule.eps, VERSION), task, str(given), given.share)

    def _forget_others(
        self, state: StageState, decided: set[str], clusters: Sequence[tuple[ClusterInput, str]]
    ) -> None:
        scored = {f"scores-{given.cluster:06d}" for given, _ in clusters if self.scope != "all"}
        state.forget({record.key for record in state.records()} - decided - scored - {EPS_UNIT, RECALL_UNIT})


def _all_done(outcome: UnitsOutcome) -> UnitsOutcome:
    if outcome.failures:
        raise InputError(f"{len(outcome.failures)} clusters could not be decided: {outcome.failures[0].message}")
    return outcome


def identify_duplicates(
    input_path: str, kmeans_path: str, output_path: str, *, eps: float | None = None, **parameters: Any
) -> StageResult:
    """Decide which rows are duplicates at `eps`; the parameters are those of `IdentifyDuplicatesStage`."""
    return IdentifyDuplicatesStage(input_path, kmeans_path, output_path, eps=eps, **parameters).run()
