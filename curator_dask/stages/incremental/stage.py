"""Decide on new vectors beside a finished run: the old decisions stay, and nothing is fitted or scored again.

New rows are assigned to the stored centroids and ranked after all old rows of their cluster, among themselves as usual.
The decisions are those of a full run with these centroids and that order. By their scores, new rows are compared within
their own cluster only, even if the finished run made cross-cluster comparisons; by the rule ``overlap``, with the clips of
all clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from curator_dask.data.clip_columns import ClipIndex, stored_columns
from curator_dask.data.clusters import read_centroids
from curator_dask.data.vector_files import VectorFiles
from curator_dask.data.vector_source import VectorSource, count_source_rows
from curator_dask.dedup.decide.cover import check_min_cover
from curator_dask.dedup.decide.rules import RULES_BY_SCORE, Rule, check_rule
from curator_dask.dedup.ranking.strategy import DISTANCE_COLUMNS, RankingStrategy
from curator_dask.dedup.similarity.threshold import check_eps
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.files.storage_options import StorageKwargs
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.incremental.assign_new import assign_new, is_assigned
from curator_dask.stages.incremental.finished.finished_overlaps import (
    FinishedOverlaps,
    align_new,
    read_finished_overlaps,
    vector_folders,
)
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.joining.join_new import JoinNew
from curator_dask.stages.incremental.scoring.new_rows import NewRows
from curator_dask.stages.incremental.scoring.score_new import score_new
from curator_dask.stages.kmeans.write_clusters import refuse_foreign_results

OUTPUTS = (layout.KMEANS, layout.PAIRWISE, layout.OVERLAPS, layout.DUPLICATES)


@with_suggestions
@dataclass(frozen=True)
class IncrementalStage(StorageKwargs, Stage):
    """Decide on new vectors beside a finished run, without redoing it.

    Writes, laid out as a run of its own: ``kmeans/`` (the new rows in the old clusters), ``pairwise/cluster_{k}.parquet``
    (scores of the new rows) and ``duplicates/`` (table and lists of the new ids). With the rule ``overlap`` also
    ``overlaps/``. Give both runs to the next one.

    Args:
        input_path: a folder or a file with the new vectors; rows whose ids the finished run has are passed over.
        kmeans_path: the finished run's output of the k-means stage, followed by those of earlier additions (their
            ``kmeans`` folders).
        duplicates_path: the finished run's output of the identify stage, followed by those of earlier additions
            (their ``duplicates`` folders).
        output_path: folder for the results.
        eps: two rows are duplicates if their cosine similarity is at least 1 - `eps`; None: the finished run's eps.
        rule: ``pairwise``, ``greedy`` or ``overlap``; None: the finished run's rule. ``overlap`` compares the tracks beside
            the new vectors with those of the finished run, which are found by its records.
        min_cover: with the rule ``overlap``: a clip is removed if kept clips show at least this share of its length. None:
            as the finished run.
        against_path: with the rule ``overlap``: the output of another run, or several of these: what their kept clips show
            is removed too. None: those that the finished run was held against.
        id_field: column of the ids, in the input and in the finished run.
        embedding_field: column of the vectors, in the input and in the finished run.
        input_filetype: ``parquet``, ``jsonl`` or ``tmk``.
        metadata_fields: further columns to copy into the clusters; also those of folders such as ``year=2024``.
        which_to_keep: the new rows that rank first: ``hard``: those far from the centroid; ``easy``: those near it;
            ``random``: a seeded shuffle decides.
        sim_metric: ``cosine`` or ``l2``: the distance to the centroid that `which_to_keep` ranks by.
        random_seed: seed of that shuffle.
        ranking_strategy: rank the new rows by any of their columns, or of the clip index, instead of `which_to_keep`.
        pairwise_batch_size: rows that are compared at a time; it changes no result.
        clips_path: the output of the split stage: adds source and times to the table, and columns to rank by.
        read_kwargs: ``{"storage_options": {...}}`` of fsspec for all inputs.
        write_kwargs: the same for the output.
    """

    input_path: str
    kmeans_path: str | Sequence[str]
    duplicates_path: str | Sequence[str]
    output_path: str
    eps: float | None = None
    rule: str | None = None
    min_cover: float | None = None
    against_path: str | Sequence[str] | None = None
    id_field: str = "id"
    embedding_field: str = "embedding"
    input_filetype: str = "parquet"
    metadata_fields: Sequence[str] | None = None
    which_to_keep: str = "hard"
    sim_metric: str = "cosine"
    random_seed: int = 42
    ranking_strategy: RankingStrategy | None = None
    pairwise_batch_size: int = 1024
    clips_path: str | None = None

    name: ClassVar[str] = "incremental"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        for name in ("kmeans_path", "duplicates_path"):
            value = getattr(self, name)
            if not value:
                raise ParameterError(f"{name} is missing: give the outputs of a finished run")
            object.__setattr__(self, name, value if isinstance(value, str) else tuple(value))
        if self.eps is not None:
            check_eps(self.eps)
        if self.rule is not None:
            check_rule(self.rule)
        if self.min_cover is not None:
            check_min_cover(self.min_cover)
        self._check_rule_fits()
        if self.pairwise_batch_size < 1:
            raise ParameterError(f"pairwise_batch_size ({self.pairwise_batch_size}) must be >= 1")
        RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)  # refuses unknown values

    def _check_rule_fits(self) -> None:
        """Raise ParameterError where a parameter is of no use for the given rule."""
        if self.rule == "overlap" and self.eps is not None:
            raise ParameterError(f"rule 'overlap' knows no eps, got {self.eps}: give min_cover, or another rule")
        for name in ("min_cover", "against_path"):
            if self.rule in RULES_BY_SCORE and getattr(self, name):
                raise ParameterError(
                    f"{name} ({getattr(self, name)}) is for the rule overlap, and rule is {self.rule!r}"
                )

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    @property
    def strategy(self) -> RankingStrategy:
        return self.ranking_strategy or RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)

    @property
    def finished(self) -> FinishedRuns:
        return FinishedRuns(self._folders(self.kmeans_path), self._folders(self.duplicates_path), self.id_field)

    def _folders(self, paths: str | Sequence[str]) -> tuple[Folder, ...]:
        return tuple(self.folder_to_read(path) for path in ([paths] if isinstance(paths, str) else paths))

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.folder_to_read(self.input_path).root,
            "kmeans_path": [folder.root for folder in self.finished.kmeans],
            "duplicates_path": [folder.root for folder in self.finished.duplicates],
            "clips_path": self.folder_to_read(self.clips_path).root if self.clips_path else None,
            "eps": self.eps,
            "rule": self.rule,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "metadata_fields": list(self.metadata_fields or ()),
            "ranking": asdict(self.strategy),
            **({"min_cover": self.min_cover} if self.min_cover is not None else {}),
            **({"against_path": [folder.root for folder in self._against or ()]} if self.against_path else {}),
        }

    @property
    def _against(self) -> tuple[Folder, ...] | None:
        return self.folders_to_read(self.against_path) if self.against_path else None

    def check(self, context: RunContext) -> None:
        super().check(context)
        refuse_foreign_results(StageState(self.output, self.name), *(f"{name}/" for name in OUTPUTS))

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        finished = self.finished
        finished.centroids()  # refuses runs that do not agree before any work
        rule = self.decided_rule()
        files = VectorFiles.of(self.input_path, self.input_filetype, self.folder_to_read)
        if rule.name == "overlap":  # what is missing is missed before any work
            self._align(replace(context, dry_run=True), files.folder, vector_folders(finished, files.folder))
        if context.dry_run:
            return self._planned(context, files)
        refuse_foreign_results(state, *(f"{name}/" for name in OUTPUTS))
        state.claim(self.identity(), overwrite=context.overwrite)
        kmeans = self.output.below(layout.KMEANS)
        read = assign_new(context, files, self._source(files.folder), kmeans, finished)
        new = self._new_rows(state, kmeans)
        units = new.units(rule, context.cluster.device) if read["rows"] else []
        new.forget_others(units)
        outcome = run_units(context.cluster, state, units, score_new, reporter=context.reporter, what="clusters")
        outcome.raise_failures(f"{counted(len(outcome.failures), 'clusters')} could not be decided")
        new_clips = self.folder_to_read(self.clips_path) if self.clips_path else None
        join = JoinNew(context, state, new.tables(units), new_clips, finished, f"{layout.DUPLICATES}/")
        if rule.name == "overlap" and units:
            overlaps = self._align(context, files.folder, vector_folders(finished, files.folder))
            found = join.by_overlaps(overlaps, files.folder, self.finished_overlaps(), self.strategy)
        else:
            found = join.by_scores(rule)
        counts = self._summarise(state, rule, found, read)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped,
            tables=(f"{layout.DUPLICATES}/{layout.DUPLICATES_TABLE}",),
        )  # fmt: skip

    def _planned(self, context: RunContext, files: VectorFiles) -> StageResult:
        """As long as the new rows are not assigned, any cluster may get some: all of them are counted."""
        self.check(context)
        state, kmeans = StageState(self.output, self.name), self.output.below(layout.KMEANS)
        counts = {
            "files_in": len(files.entries()),
            "rows_in": count_source_rows(self._source(files.folder), files.entries()),
        }
        if not is_assigned(files, kmeans):
            return StageResult(self.name, self.output, counts, num_run=len(read_centroids(self.finished.centroids())))
        todo, done = self.count_planned(self._new_rows(state, kmeans).units(self.decided_rule(), "cpu"))
        return StageResult(self.name, self.output, counts, num_run=todo, num_skipped=done)

    def _new_rows(self, state: StageState, kmeans: Folder) -> NewRows:
        return NewRows(
            state, self.finished, kmeans, self.embedding_field, self.strategy, self._clips_to_rank_by(),
            self.pairwise_batch_size,
        )  # fmt: skip

    def _align(self, context: RunContext, new: Folder, vectors: Sequence[Folder]) -> Folder:
        """Find the overlaps of the new clips, among themselves and with those of all runs; returns their folder."""
        output = self.output.below(layout.OVERLAPS)
        align_new(context, new, vectors, self.finished_overlaps(), output)
        return output

    def _summarise(
        self, state: StageState, rule: Rule, found: Mapping[str, int], read: Mapping[str, int]
    ) -> dict[str, int]:
        """Write the summary; returns the counts."""
        counts = {name: read[name] for name in ("rows_in", "rows_known", "rows_rejected", "rows")}
        counts |= {name: found[name] for name in ("kept", "removed", "orphans")}
        decided: dict[str, Any] = {"eps": rule.eps, "rule": rule.name}
        if rule.name == "overlap":
            how = self.finished_overlaps()
            decided |= {"eps": None, "min_cover": how.min_cover, "min_strength": how.min_strength / 1000}
            counts |= {name: found[name] for name in ("in_reference",) if how.against and name in found}
        state.summarise(counts, decided)
        return counts

    def finished_overlaps(self) -> FinishedOverlaps:
        """How to decide by overlaps: as is given, else as the finished run did."""
        return read_finished_overlaps(self.finished, self.min_cover, self._against)

    def criterion(self) -> str:
        """What decides, in words: ``eps 0.01``, or the least cover."""
        rule = self.decided_rule()
        return self.finished_overlaps().criterion() if rule.name == "overlap" else f"eps {rule.eps:.6g}"

    def decided_rule(self) -> Rule:
        """The rule and eps to decide by: the given ones, else the finished run's. Raises InputError if no eps is known."""
        held = self.finished.decision_parameters()
        if held["scope"] not in (None, "all"):
            raise InputError(
                f"{self.finished.duplicates[0].url} was decided with scope {held['scope']!r}: new rows can only be "
                "decided over all pairs"
            )
        if held["also"] is not None and self.rule is None:
            raise InputError(
                f"{self.finished.duplicates[0].url} was decided with also {held['also']!r}, by two rules. New rows are "
                "decided by one: give rule greedy for near neighbours, or rule overlap for copies"
            )
        rule = self.rule or held["rule"] or "pairwise"
        check_rule(rule)
        if rule == "overlap":
            if self.eps is not None:
                raise InputError(
                    f"{self.finished.duplicates[0].url} was decided with rule 'overlap', which knows no eps. To decide on "
                    f"the new rows by their similarity, give the rule too: --eps {self.eps:g} --rule pairwise"
                )
            return Rule(rule, 0.0)
        eps = self.eps if self.eps is not None else held["eps"]
        if eps is None:
            raise InputError(f"{self.finished.duplicates[0].url} does not say which eps it was decided at: give eps")
        return Rule(rule, float(eps))

    def _source(self, folder: Folder) -> VectorSource:
        """The columns of the new vectors, with those that the ranking needs."""
        clips = self._clips_to_rank_by()
        ranking = stored_columns(set(self.strategy.metadata_cols) - set(DISTANCE_COLUMNS.values()), clips)
        metadata = dict.fromkeys([*(self.metadata_fields or ()), *sorted(ranking)])
        return VectorSource(folder, self.input_filetype, self.id_field, self.embedding_field, tuple(metadata))

    def _clips_to_rank_by(self) -> ClipIndex | None:
        """The clip index, if there is one and the ranking needs more than distances."""
        if self.clips_path is None or set(self.strategy.metadata_cols) <= set(DISTANCE_COLUMNS.values()):
            return None
        return ClipIndex.of(self.folder_to_read(self.clips_path))


def dedup_new_vectors(
    input_path: str,
    kmeans_path: str | Sequence[str],
    duplicates_path: str | Sequence[str],
    output_path: str,
    **parameters: Any,
) -> StageResult:
    """Decide on new vectors beside a finished run; the parameters are those of `IncrementalStage`."""
    return IncrementalStage(input_path, kmeans_path, duplicates_path, output_path, **parameters).run()
