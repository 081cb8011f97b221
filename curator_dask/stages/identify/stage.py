"""Similarity tables → decisions: which clips are kept, which are removed, and the nearest kept clip of each removed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.scored_clusters import ClusterInput, RowSources, SourceColumn, SourceVideos
from curator_dask.dedup.decide.rules import AUTO, Rule
from curator_dask.dedup.similarity.threshold import DEFAULT_EPS, chosen_eps
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.storage_options import StorageKwargs, one_or_all
from curator_dask.keywords import with_suggestions
from curator_dask.report.review.overrides import KEEP, OVERRIDES, Override
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import UnitsOutcome
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.identify.by_overlaps.by_overlaps import ByOverlaps, check_references
from curator_dask.stages.identify.by_scores import ByScores, all_done
from curator_dask.stages.identify.decisions.by_hand import ByHand
from curator_dask.stages.identify.decisions.dropped import (
    DroppedClips,
    drop_clips,
    row_ids,
    write_dropped,
)
from curator_dask.stages.identify.decisions.join_record import JOIN_UNIT, Joined
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.parts import is_part
from curator_dask.stages.identify.decisions.table_rows import CLUSTER_UNIT
from curator_dask.stages.identify.in_parts.join_in_parts import join_in_parts
from curator_dask.stages.identify.list_clusters import list_clusters
from curator_dask.stages.identify.parameters import IdentifyParameters, check_overlap_parameters

__all__ = [
    "DEFAULT_EPS",
    "IdentifyDuplicatesStage",
    "identify_duplicates",
]


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

    Writes ``decisions/part-000000.parquet`` … (one row per clip, kept ones too). Up to a million clips also as single files:
    ``duplicates.parquet`` and ``.csv`` (one row per removed clip), ``groups.parquet`` (one row per member of a group of
    duplicates), ``keep.txt`` and ``remove.txt`` (ids, sorted).

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
        check_references(self.against)

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
        units = (
            self._by_overlaps(state).units(clusters)
            if by_overlap
            else self._by_scores(state, dropped).known_units(clusters)
        )
        todo, done = self.count_planned(units) if units else (len(clusters), 0)
        return StageResult(self.name, self.output, {"clusters": len(clusters)}, num_run=todo, num_skipped=done)

    def _drop(self, clusters: list[ClusterInput]) -> tuple[list[ClusterInput], DroppedClips | None]:
        """What the filters drop, and the clusters that have rows left; None where there are no filters."""
        filters = self.filters()
        if not filters.limits():
            return clusters, None
        by_hand = {name for name, one in self.decisions_by_hand().items() if one.decision == KEEP}
        dropped = drop_clips(filters, self.clips, self._vectors(), clusters, by_hand)
        left = [one for one, ids in zip(clusters, row_ids(clusters), strict=True) if dropped.stay(ids).any()]
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

    def _by_scores(self, state: StageState, dropped: DroppedClips | None) -> ByScores:
        return ByScores(
            state, self.folder_to_read(self.input_path), self.folder_to_read(self.kmeans_path), self.clips,
            (self.id_field, self.embedding_field), self.rule, self.scope, self.eps, self.target_keep, self._sources(),
            dropped,
        )  # fmt: skip

    def _decide_by_scores(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Decide by one of the rules that compare scores with eps."""
        by_scores = self._by_scores(state, dropped)
        clusters = by_scores.scored(context, clusters)
        eps = by_scores.settle_eps(context, clusters)
        outcome, found = by_scores.decide(context, clusters, eps)
        by_scores.forget_others(clusters)
        counts, warnings = self._join(context, state, found)
        counts |= by_scores.recall(context, clusters, eps, self.recall_sample)
        return Decided(outcome, counts, {"eps": eps}, warnings)

    def _join(
        self, context: RunContext, state: StageState, found: DecidedClusters
    ) -> tuple[dict[str, int], tuple[str, ...]]:
        """Join and write the decisions; returns the counts, and what a user should look at."""
        overrides = None if self.overrides is None else self.decisions_by_hand()
        joined = join_in_parts(context, state, found, self.clips, overrides)
        return self._told(joined, found.rule)

    def _told(self, joined: Joined, rule: Rule) -> tuple[dict[str, int], tuple[str, ...]]:
        """The counts, and what a user should look at."""
        by_hand, emptied = joined.by_hand if self.overrides is not None else self._unused_by_hand(), joined.emptied
        counts = {**joined.counts, **by_hand.counts}
        if emptied is None:
            return counts, by_hand.warnings
        counts["sources_mostly_removed"] = emptied.number
        return counts, (*by_hand.warnings, emptied.warning(rule))

    def _decide_by_overlaps(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Decide by the rule ``overlap``."""
        by_overlaps = self._by_overlaps(state)
        ranked, outcome = by_overlaps.list_rows(context, clusters)
        all_done(outcome)
        state.forget({key for key in state.unit_keys() if not is_part(key)} - ranked - {JOIN_UNIT})
        overrides = None if self.overrides is None else self.decisions_by_hand()
        joined = by_overlaps.decide(context, clusters, dropped, overrides)
        counts, warnings = self._told(joined, Rule("overlap", 0.0, self.scope))
        decided = {"eps": None, "min_cover": self.min_cover, "min_strength": joined.min_strength / 1000}
        return Decided(outcome, counts, decided, warnings)

    def _by_overlaps(self, state: StageState) -> ByOverlaps:
        return ByOverlaps(
            state, self.folder_to_read(self.input_path), self.clips, self.overlaps, self.against, self.min_cover,
            self.scope, self.target_keep, CLUSTER_UNIT if self.also is None else "ranked",
        )  # fmt: skip

    def _decide_by_both(
        self, context: RunContext, state: StageState, clusters: Sequence[ClusterInput], dropped: DroppedClips | None
    ) -> Decided:
        """Remove copies by the rule ``overlap``, and then near neighbours among the other rows by the rule ``greedy``."""
        by_overlaps = self._by_overlaps(state)
        ranked, listed = by_overlaps.list_rows(context, clusters)
        all_done(listed)
        by_scores, eps = self._by_scores(state, dropped), chosen_eps(self.eps)
        overrides = None if self.overrides is None else self.decisions_by_hand()
        with by_overlaps.copies_first(context, clusters, dropped, overrides) as copies:
            there = copies.gone  # the filters may leave no row of a cluster
            scored = by_scores.scored(context, [cluster for cluster in clusters if cluster.number in there])
            outcome, found = by_scores.decide(context, scored, eps, there)
            by_scores.forget_others(scored, ranked)
            joined = copies.join(found)
        counts, warnings = self._told(joined, found.rule)
        counts |= by_scores.recall(context, scored, eps, self.recall_sample)
        decided = {"eps": eps, "min_cover": self.min_cover, "min_strength": joined.min_strength / 1000}
        num_run, num_skipped = (listed.num_run + outcome.num_run, listed.num_skipped + outcome.num_skipped)
        return Decided(replace(outcome, num_run=num_run, num_skipped=num_skipped), counts, decided, warnings)

    def _unused_by_hand(self) -> ByHand:
        """A warning where a file of decisions by hand lies there and is not used."""
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


def identify_duplicates(
    input_path: str, kmeans_path: str, output_path: str, *, eps: float | None = None, **parameters: Any
) -> StageResult:
    """Decide which rows are duplicates at `eps`; the parameters are those of `IdentifyDuplicatesStage`."""
    return IdentifyDuplicatesStage(input_path, kmeans_path, output_path, eps=eps, **parameters).run()
