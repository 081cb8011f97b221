"""Similarity tables → decisions: which clips are kept, which are removed, and the nearest kept clip of each removed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.scored_clusters import ClusterInput, RowSources, SourceColumn, SourceVideos
from curator_dask.data.tables import read_unit_tables
from curator_dask.dedup.decide.rules import AUTO, Rule
from curator_dask.dedup.similarity.threshold import DEFAULT_EPS, chosen_eps
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.files.storage_options import StorageKwargs, one_or_all
from curator_dask.keywords import with_suggestions
from curator_dask.report.review.overrides import KEEP, OVERRIDES, Override
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.identify.across.find_taken import places_taken
from curator_dask.stages.identify.across.recorded_comparison import recorded_comparison, were_compared
from curator_dask.stages.identify.across.settle import UNIT as ACROSS_UNIT
from curator_dask.stages.identify.across.settle import settle_across, settled_from
from curator_dask.stages.identify.choose_eps import choose_eps
from curator_dask.stages.identify.decisions.by_hand import ByHand, decide_by_hand
from curator_dask.stages.identify.decisions.copies_and_neighbours import copies_and_neighbours
from curator_dask.stages.identify.decisions.decision_table import VERSION
from curator_dask.stages.identify.decisions.dropped import (
    DroppedClips,
    DroppedRows,
    drop_clips,
    row_ids,
    write_dropped,
)
from curator_dask.stages.identify.decisions.join_decisions import Decisions, join_decisions
from curator_dask.stages.identify.decisions.output_files import source_videos, write_decisions
from curator_dask.stages.identify.decisions.own_source import warn_of_emptied_sources
from curator_dask.stages.identify.list_clusters import list_clusters
from curator_dask.stages.identify.overlap.decide_overlaps import (
    OverlapDecisions,
    OverlapRule,
    decide_by_overlaps,
)
from curator_dask.stages.identify.overlap.find_ranking import recorded_ranking
from curator_dask.stages.identify.overlap.ranked_rows import list_ranked_rows
from curator_dask.stages.identify.overlap.reference import reference_clips, reference_index
from curator_dask.stages.identify.overlap.spec import RankedRowsTask
from curator_dask.stages.identify.parameters import IdentifyParameters, check_overlap_parameters
from curator_dask.stages.identify.recall import measure_recall
from curator_dask.stages.identify.scoped_scores import score_in_scope
from curator_dask.stages.identify.spec import DecideTask, RecallSearch, ScopedScoresTask
from curator_dask.stages.identify.worker import decide_cluster

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DEFAULT_EPS",
    "IdentifyDuplicatesStage",
    "identify_duplicates",
]

EPS_UNIT, RECALL_UNIT = "eps", "recall"
RECALL_VERSION = 2
"""Version of what counts as found. A recall of an older version is measured again."""


class Decided(NamedTuple):
    """What a rule made of the rows."""

    outcome: UnitsOutcome
    counts: dict[str, int]
    decided: dict[str, Any]
    """What it decided by: eps, or the cover and the strength of overlaps."""
    warnings: tuple[str, ...]


@with_suggestions
@dataclass(frozen=True)
class IdentifyDuplicatesStage(IdentifyParameters, StorageKwargs, Stage):
    """Remove every row whose ``cosine_sim_score`` is at least 1 − eps; or, by the greedy rule, fewer of them; or, by the
    rule ``overlap``, the clips whose moments are seen in kept clips.

    Writes ``duplicates.parquet`` and ``.csv`` (one row per removed clip), ``groups.parquet`` (one row per member of a
    group of duplicates), ``keep.txt`` and ``remove.txt`` (ids, sorted).

    Args:
        input_path: The output of the pairwise stage, or of the cross-cluster stage.
        kmeans_path: The output of the k-means stage, for the vectors.
        output_path: The folder to write to.
        id_field: The column with the ids.
        embedding_field: The column with the vectors.
        clips_path: The output of the split stage. It adds source video, start and end of the clips to the table.
        read_kwargs: ``{"storage_options": {…}}`` for the three inputs.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
        eps: A row is a duplicate of a row ranked before it if their cosine is at least 1 − eps. None: 0.01, or the eps
            that `target_keep` leads to. (A whole run takes the default of the embedding model instead of 0.01.)
        target_keep: Instead of eps: use the largest eps that leaves at least this share of the rows, from 0 to 1. With the
            rule ``"overlap"``: leave out the weakest overlaps, as many as it takes.
        rule: Which similar rows cause a removal. ``"pairwise"``: any row ranked before it, even a removed one.
            ``"greedy"``: kept rows only, so that every removed row has a kept row within eps, also in another cluster after
            cross-cluster comparisons, and no two kept rows that were compared are within eps. ``"overlap"``: kept clips
            that show the same moments; it needs `overlaps_path`, and eps does not count.
        also: ``"copies"``: remove copies first, by the rule ``"overlap"`` (with `overlaps_path`, `min_cover` and
            `against_path`), and then, of the clips that are left, near neighbours by the rule ``"greedy"``. The reason of each
            removed clip is ``copy`` or ``near-duplicate``. None: one rule decides.
        min_cover: With the rule ``"overlap"``: a clip is removed if kept clips show at least this share of its length.
        overlaps_path: With the rule ``"overlap"``: the output of the align stage.
        against_path: With the rule ``"overlap"``: the output of another run, or several of these, which are not changed.
            What their kept clips show is removed too, with the reason ``in-reference``. The align stage must have seen them.
        scope: Which pairs of rows count. ``"all"``; ``"cross"``: only pairs of different source videos; ``"same"``: only
            pairs of the same source video.
        source_field: The column of the k-means output that names the source of a row. None: the source video in the clip
            index at `clips_path`.
        min_motion: Drop clips with a lower ``motion_mean``, from 0 to 1. Filters act before the rule: the other clips are
            decided on as if dropped ones were not there. They need the quality columns at `clips_path`, or beside the vectors.
        max_static_share: Drop clips with a higher ``frozen_share``, from 0 to 1.
        drop_black: Drop clips of which at least 90 % of the frames are black (``black_share``).
        recall_sample: Compare this many sampled rows with all rows, and count how many of their pairs within eps were
            found: those in the same cluster, and after cross-cluster comparisons those of which a row is a duplicate.
        overrides: A CSV file of decisions by hand, with the columns id, decision (``keep`` or ``remove``) and note. They go
            over those of the rule, each for its own clip. Without it no such file counts, wherever one may lie.
    """

    input_path: str
    kmeans_path: str
    output_path: str
    id_field: str = "id"
    embedding_field: str = "embedding"
    clips_path: str | None = None
    overlaps_path: str | None = None
    against_path: str | Sequence[str] | None = None

    name: ClassVar[str] = "identify"
    replaceable: ClassVar[frozenset[str]] = frozenset(
        (
            "input_path",
            "overlaps_path",
            "against_path",
            "eps",
            "rule",
            "scope",
            "source_field",
            "target_keep",
            "min_cover",
            "min_motion",
            "max_static_share",
            "drop_black",
            "also",
        )
    )
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "kmeans_path", "output_path")
        if self.rule == AUTO:
            by_input = "pairwise" if self.overlaps_path is None else "overlap"
            object.__setattr__(self, "rule", by_input if self.also is None else "greedy")
        check_overlap_parameters(self, self.overlaps_path, self.against_path)
        if self.rule == "overlap":
            return
        if self.scope != "all" and self.source_field is None:
            self._clips_with_sources()

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    @property
    def clips(self) -> Folder | None:
        return self.folder_to_read(self.clips_path) if self.clips_path else None

    @property
    def overlaps(self) -> Folder:
        """The output of the align stage, which the rule ``overlap`` needs."""
        return self.folder_to_read(str(self.overlaps_path))

    @property
    def against(self) -> tuple[Folder, ...]:
        return self.folders_to_read(self.against_path)

    def check_references(self) -> None:
        """Raise InputError if there is no other output at one of `against_path`."""
        for folder in self.against:
            reference_index(folder)

    def decisions_by_hand(self) -> dict[str, Override]:
        """What a person decided. Raises InputError where the file cannot be read."""
        return self.read_overrides(self.folder_to_read(self.input_path).storage_options)

    def identity(self) -> dict[str, Any]:
        by_overlap = self.rule == "overlap"
        return {
            "input_path": self.folder_to_read(self.input_path).root,
            "kmeans_path": self.folder_to_read(self.kmeans_path).root,
            "clips_path": self.clips.root if self.clips else None,
            "eps": None if by_overlap or self.target_keep is not None else chosen_eps(self.eps),
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "rule": self.rule,
            "scope": self.scope,
            "source_field": self.source_field,
            "target_keep": self.target_keep,
            **self.filters().identity(),
            **(self._overlap_identity() if by_overlap or self.also else {}),
            **({"also": self.also} if self.also else {}),
        }

    def _overlap_identity(self) -> dict[str, Any]:
        roots = [folder.root for folder in self.against]
        against = {"against_path": one_or_all(roots)} if roots else {}
        return {"min_cover": self.min_cover, "overlaps_path": self.overlaps.root, **against}

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        clusters = list_clusters(
            self.folder_to_read(self.input_path),
            self.folder_to_read(self.kmeans_path),
            self.id_field,
            self.embedding_field,
        )
        self.decisions_by_hand()  # a fault in the file shows before any work
        if context.dry_run:
            return self._planned(context, state, clusters)
        clusters, dropped = self._drop(clusters)
        replaced = state.claim(self.identity(), overwrite=context.overwrite, replaceable=self.replaceable)
        if replaced:
            context.reporter.note(f"identify: {replaced}: the decisions are made anew")
        write_dropped(state, dropped)
        outcome, counts, decided, warnings = self._way_to_decide()(context, state, clusters, dropped)
        if dropped is not None:
            counts["rows"] += dropped.counts()["dropped"]
            counts, warnings = counts | dropped.counts(), (*warnings, *dropped.warnings())
        state.summarise(counts, decided, failures=outcome.failures)
        return StageResult(
            self.name,
            self.output,
            counts,
            outcome.failures,
            outcome.num_run,
            outcome.num_skipped,
            tables=(layout.DUPLICATES_TABLE,),
            warnings=warnings,
        )

    def _way_to_decide(self) -> Callable[..., Decided]:
        if self.also is not None:
            return self._decide_by_both
        return self._decide_by_overlaps if self.rule == "overlap" else self._decide_by_scores

    def _planned(self, context: RunContext, state: StageState, clusters: list[ClusterInput]) -> StageResult:
        self.check(context)
        clusters, dropped = self._drop(clusters)
        by_overlap = self.rule == "overlap" or self.also is not None
        units = self._ranking_units(state, clusters) if by_overlap else self._known_units(state, clusters, dropped)
        todo, done = self.count_planned(units) if units else (len(clusters), 0)
        return StageResult(self.name, self.output, {"clusters": len(clusters)}, num_run=todo, num_skipped=done)

    def _drop(self, clusters: list[ClusterInput]) -> tuple[list[ClusterInput], DroppedClips | None]:
        """What the filters drop, and the clusters that have rows left; None where there are no filters."""
        filters = self.filters()
        if not filters.limits():
            return clusters, None
        rows = row_ids(clusters)
        by_hand = {name for name, one in self.decisions_by_hand().items() if one.decision == KEEP}
        dropped = drop_clips(filters, self.clips, self._vectors(), rows, by_hand)
        left = [one for one, ids in zip(clusters, rows, strict=True) if dropped.stay(ids).any()]
        if not left:
            raise InputError(f"the filters drop all clips ({', '.join(filters.identity())}): choose others")
        # The rule overlap also looks at dropped clips: two others may be known to be alike by way of one.
        return clusters if self.rule == "overlap" or self.also else left, dropped

    def _vectors(self) -> Folder | None:
        """The folder of vectors that k-means read, as it is recorded; None where it is not known or not there."""
        kmeans = self.folder_to_read(self.kmeans_path)
        recorded = StageState(kmeans, "kmeans").recorded_path("input_path")
        if recorded is None:
            return None
        protocol = "" if kmeans.is_local else kmeans.url.partition("://")[0] + "://"
        return Folder(protocol + recorded, kmeans.storage_options)

    def _known_units(
        self, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Sequence[Unit[Any]]:
        """The units that decide by scores; none where the eps is still to be chosen for `target_keep`."""
        sources = self._sources()
        if sources is not None or dropped is not None:
            clusters = self._in_scope(clusters, self._scope_units(clusters, sources, "cpu", dropped))
        eps = self._known_eps(state, clusters)
        if eps is None:
            return []
        rule = Rule(self.rule, eps, self.scope)
        return [self._unit(state, cluster, rule, sources, "cpu") for cluster in self._settled(clusters, eps)]

    def _decide_by_scores(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Decide by one of the rules that compare scores with eps."""
        sources = self._sources()
        if sources is not None or dropped is not None:
            clusters = self._score_in_scope(context, state, clusters, sources, dropped)
        rule = Rule(self.rule, self._settle_eps(context, state, clusters), self.scope)
        outcome, decisions = self._decide(context, state, clusters, rule, sources)
        self._forget_others(state, clusters)
        known = source_videos(decisions.ids, self.clips) if self.clips is not None else None
        counts, warnings = self._write(state, decisions, known)
        if self.recall_sample:
            counts |= self._recall(context, state, clusters, rule.eps, sources)
        return Decided(outcome, counts, {"eps": rule.eps}, warnings)

    def _decide_by_overlaps(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Decide by the rule ``overlap``."""
        ranked, outcome, found = self._find_copies(context, state, clusters, dropped)
        state.forget({record.key for record in state.records()} - ranked)
        counts, warnings = self._write(state, found.decisions, found.sources)
        decided = {"eps": None, "min_cover": self.min_cover, "min_strength": found.min_strength / 1000}
        return Decided(outcome, counts, decided, warnings)

    def _find_copies(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> tuple[set[str], UnitsOutcome, OverlapDecisions]:
        """Which rows the rule ``overlap`` removes, with the keys and the outcome of the units that list all rows."""
        units = self._ranking_units(state, clusters)
        outcome = _all_done(
            run_units(context.cluster, state, units, list_ranked_rows, reporter=context.reporter, what="clusters")
        )
        strategy, _ = recorded_ranking(self.folder_to_read(self.input_path), self.clips)
        rule = OverlapRule(self.min_cover, self.scope, self.target_keep, strategy)
        tables = read_unit_tables(state, [unit.task.table for unit in units])
        staying = reference_clips(self.overlaps, self.against)
        found = decide_by_overlaps(tables, self.overlaps, rule, staying, dropped.stay if dropped is not None else None)
        return {unit.key for unit in units}, outcome, found

    def _decide_by_both(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Remove copies by the rule ``overlap``, and then near neighbours among the other rows by the rule ``greedy``."""
        ranked, listed, copies = self._find_copies(context, state, clusters, dropped)
        there = copies.decisions.removed_by_cluster()  # the filters may leave no row of a cluster
        scored: Sequence[ClusterInput] = [cluster for cluster in clusters if cluster.number in there]
        sources = self._sources()
        if sources is not None or dropped is not None:
            scored = self._score_in_scope(context, state, scored, sources, dropped)
        rule = Rule(self.rule, chosen_eps(self.eps), self.scope)
        outcome, near = self._decide(context, state, scored, rule, sources, copies.decisions)
        self._forget_others(state, scored, ranked)
        counts, warnings = self._write(state, copies_and_neighbours(copies.decisions, near), copies.sources)
        if self.recall_sample:
            counts |= self._recall(context, state, scored, rule.eps, sources)
        decided = {"eps": rule.eps, "min_cover": self.min_cover, "min_strength": copies.min_strength / 1000}
        num_run, num_skipped = (listed.num_run + outcome.num_run, listed.num_skipped + outcome.num_skipped)
        return Decided(replace(outcome, num_run=num_run, num_skipped=num_skipped), counts, decided, warnings)

    def _ranking_units(self, state: StageState, clusters: Sequence[ClusterInput]) -> list[Unit[RankedRowsTask]]:
        """One unit per cluster, which lists its rows with what ranks them."""
        strategy, index = recorded_ranking(self.folder_to_read(self.input_path), self.clips)
        version = index.version if index is not None else ""
        units = []
        for cluster in clusters:
            key = f"{'cluster' if self.also is None else 'ranked'}-{cluster.number:06d}"
            task = RankedRowsTask(cluster, strategy, index, self.output, state.beside_marker(key))
            units.append(Unit(key, digest(cluster.version, version, asdict(strategy), VERSION), task, str(cluster)))
        return units

    def _write(
        self, state: StageState, decisions: Decisions, sources: pa.ChunkedArray | None
    ) -> tuple[dict[str, int], tuple[str, ...]]:
        """Write the decisions; returns the counts, and what a user should look at. Sources are those of all rows."""
        by_hand = self._decide_by_hand(decisions)
        write_decisions(state, decisions, self.clips)
        counts = {"rows": len(decisions.removed), **decisions.counts(), **by_hand.counts}
        num_emptied, warnings = warn_of_emptied_sources(decisions, sources) if sources is not None else (0, ())
        counts |= {"sources_mostly_removed": num_emptied} if num_emptied else {}
        counts |= decisions.counts_by_rule()
        if self.against and decisions.covered is not None:
            counts["in_reference"] = int((decisions.removed & decisions.covered.in_reference()).sum())
        return counts, (*by_hand.warnings, *warnings)

    def _decide_by_hand(self, decisions: Decisions) -> ByHand:
        if self.overrides is not None:
            return decide_by_hand(decisions, self.decisions_by_hand())
        lying = self.clips is not None and self.clips.exists(OVERRIDES)
        unused = (
            f"{self.clips.join(OVERRIDES)} is not used: to apply it, give --overrides" if self.clips and lying else ""
        )
        return ByHand({}, (unused,) if unused else ())

    def decided_eps(self) -> float:
        """The eps that a finished run decided by, also where it was chosen for `target_keep`.

        Raises InputError if there is no finished run, or if it was decided by the rule ``overlap``, which knows no eps.
        """
        eps = self._summary()["eps"]
        if eps is None:
            raise InputError(f"{self.output.url} was decided by the rule overlap, which knows no eps")
        return float(eps)

    def criterion(self) -> str:
        """What a finished run decided by, in words: ``eps 0.01``, or the least cover."""
        if self.rule != "overlap":
            both = f"copies by cover {self.min_cover:.6g}, then neighbours by " if self.also else ""
            return f"{both}eps {self.decided_eps():.6g}"
        strength = self._summary()["min_strength"]
        return f"cover {self.min_cover:.6g}" + (f" by overlaps of strength {strength:.3g} and more" if strength else "")

    def _summary(self) -> dict[str, Any]:
        summary = StageState(self.output, self.name).summary()
        if summary is None:
            raise InputError(f"{self.output.url} holds no finished run of the identify stage: run it first")
        return summary

    def _clips_with_sources(self) -> Folder:
        if self.clips is None:
            raise ParameterError(
                f"scope {self.scope!r} needs the sources of rows: give clips_path (the output of the split stage), "
                "or source_field (a column that k-means carried along)"
            )
        return self.clips

    def _sources(self) -> RowSources | None:
        """Where the sources of rows are found; None where all pairs count."""
        if self.scope == "all":
            return None
        if self.source_field is not None:
            return SourceColumn(self.source_field)
        return SourceVideos(ClipIndex.of(self._clips_with_sources()))

    def _score_in_scope(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], sources: RowSources | None,
        dropped: DroppedClips | None,
    ) -> list[ClusterInput]:  # fmt: skip
        """Score the clusters over the pairs in scope and without dropped clips.

        Returns them with these tables instead of the pairwise stage's.
        """
        units = self._scope_units(clusters, sources, context.cluster.device, dropped)
        _all_done(run_units(context.cluster, state, units, score_in_scope, reporter=context.reporter, what="tables"))
        return self._in_scope(clusters, units)

    def _scope_units(
        self, clusters: Sequence[ClusterInput], sources: RowSources | None, device: str, dropped: DroppedClips | None
    ) -> list[Unit[ScopedScoresTask]]:
        rows = DroppedRows(self.output, dropped.version) if dropped is not None else None
        versions = [*([sources.version] if sources is not None else []), *([rows.version] if rows is not None else [])]
        return [
            Unit(
                f"scores-{cluster.number:06d}",
                digest(cluster.version, *versions),
                ScopedScoresTask(cluster, self.output, self.scope, sources, device, rows),
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
                tables=self.output,
                table=layout.scoped_scores_file(one.number),
                version=unit.inputs,
                filtered=unit.task.dropped is not None,
            )
            for one, unit in zip(clusters, units, strict=True)
        ]

    def _settle_eps(self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput]) -> float:
        """The eps to decide by; for `target_keep` it is chosen from all scores, once."""
        known = self._known_eps(state, clusters)
        if known is not None or self.target_keep is None:
            return chosen_eps(known)
        eps = choose_eps(context.cluster.client, clusters, self.target_keep, context.reporter.note)
        state.write(UnitRecord(EPS_UNIT, _all_versions(clusters), data={"eps": eps}))
        return eps

    def _known_eps(self, state: StageState, clusters: Sequence[ClusterInput]) -> float | None:
        """The eps that is given, or was chosen for `target_keep`; None where it is still to be chosen."""
        if self.target_keep is None:
            return chosen_eps(self.eps)
        before = state.record(EPS_UNIT)
        return float(before.data["eps"]) if before is not None and before.inputs == _all_versions(clusters) else None

    def _decide(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], rule: Rule,
        sources: RowSources | None, copies: Decisions | None = None,
    ) -> tuple[UnitsOutcome, Decisions]:  # fmt: skip
        """Decide cluster by cluster, and join the decisions. Rows that are removed as `copies` go anyway."""
        device = context.cluster.device
        masks = {} if copies is None else copies.removed_by_cluster()
        clusters = [_without(cluster, masks.get(cluster.number)) for cluster in clusters]
        taken = self._settle_across(context, state, clusters, rule.eps, masks)
        units = [
            self._unit(
                state, cluster, rule, sources, device,
                (*places_taken(taken, cluster.number), *_places(masks.get(cluster.number))),
            )
            for cluster in self._settled(clusters, rule.eps)
        ]  # fmt: skip
        outcome = _all_done(
            run_units(context.cluster, state, units, decide_cluster, reporter=context.reporter, what="clusters")
        )
        tables = read_unit_tables(state, [unit.task.table for unit in units])
        return outcome, join_decisions(tables, rule, taken, None if copies is None else copies.removed)

    def _compares_kept_rows(self) -> bool:
        """Whether kept rows are compared across clusters: by the greedy rule, where the tables know rows of other clusters.

        Not with filters, as the comparison knows no dropped rows: then a match in another cluster removes a row if it is the
        best one.
        """
        if self.rule != "greedy" or self.scope != "all" or self.filters().limits():
            return False
        return were_compared(self.folder_to_read(self.input_path))

    def _settle_across(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], eps: float,
        gone: dict[int, NDArray[np.bool_]],
    ) -> pa.Table | None:  # fmt: skip
        """The rows that kept rows of other clusters remove; None where this is not looked for."""
        if not self._compares_kept_rows():
            return None
        spec = recorded_comparison(
            self.folder_to_read(self.input_path), self.folder_to_read(self.kmeans_path), self.clips, self.output,
            (self.id_field, self.embedding_field), context.cluster.device,
        )  # fmt: skip
        return settle_across(context, state, clusters, spec, eps, gone)

    def _settled(self, clusters: Sequence[ClusterInput], eps: float) -> Sequence[ClusterInput]:
        """The clusters in versions that say that other clusters have a say, where they have."""
        if not self._compares_kept_rows():
            return clusters
        across = settled_from(clusters, eps)
        return [replace(cluster, version=digest(cluster.version, across)) for cluster in clusters]

    def _unit(
        self, state: StageState, cluster: ClusterInput, rule: Rule, sources: RowSources | None, device: str,
        taken: tuple[int, ...] = (),
    ) -> Unit[DecideTask]:  # fmt: skip
        key = f"cluster-{cluster.number:06d}"
        task = DecideTask(cluster, rule, sources, self.output, state.beside_marker(key), device, taken)
        return Unit(key, digest(cluster.version, rule.eps, VERSION), task, str(cluster), cluster.share)

    def _forget_others(
        self, state: StageState, clusters: Sequence[ClusterInput], ranked: frozenset[str] | set[str] = frozenset()
    ) -> None:
        """Remove what an earlier run left of clusters that are no longer there."""
        decided = {f"cluster-{cluster.number:06d}" for cluster in clusters} | ranked
        scores_anew = self.scope != "all" or bool(self.filters().limits())
        scored = {f"scores-{cluster.number:06d}" for cluster in clusters if scores_anew}
        across = {ACROSS_UNIT} if self._compares_kept_rows() else set()
        state.forget({record.key for record in state.records()} - decided - scored - across - {EPS_UNIT, RECALL_UNIT})

    def _recall(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], eps: float,
        sources: RowSources | None,
    ) -> dict[str, int]:  # fmt: skip
        """The counts of `measure_recall`, measured once."""
        inputs = digest([cluster.version for cluster in clusters], eps, self.recall_sample, RECALL_VERSION)
        before = state.record(RECALL_UNIT)
        if before is not None and before.inputs == inputs:
            return dict(before.counts)
        search = RecallSearch(self.recall_sample, eps, self.scope, sources, context.cluster.device)
        counts = measure_recall(context.cluster.client, clusters, search, context.reporter.note)
        state.write(UnitRecord(RECALL_UNIT, inputs, counts=counts))
        return counts


def _without(cluster: ClusterInput, gone: NDArray[np.bool_] | None) -> ClusterInput:
    """The cluster in a version that says which of its rows are gone, if any are."""
    if gone is None or not gone.any():
        return cluster
    return replace(cluster, version=digest(cluster.version, np.packbits(gone).tobytes().hex()))


def _places(mask: NDArray[np.bool_] | None) -> list[int]:
    places: list[int] = [] if mask is None else np.flatnonzero(mask).tolist()
    return places


def _all_versions(clusters: Sequence[ClusterInput]) -> str:
    return digest([cluster.version for cluster in clusters])


def _all_done(outcome: UnitsOutcome) -> UnitsOutcome:
    outcome.raise_failures(f"{counted(len(outcome.failures), 'clusters')} could not be decided")
    return outcome


def identify_duplicates(
    input_path: str, kmeans_path: str, output_path: str, *, eps: float | None = None, **parameters: Any
) -> StageResult:
    """Decide which rows are duplicates at `eps`; the parameters are those of `IdentifyDuplicatesStage`."""
    return IdentifyDuplicatesStage(input_path, kmeans_path, output_path, eps=eps, **parameters).run()
