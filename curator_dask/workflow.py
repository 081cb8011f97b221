"""The stages of a whole run, what each gets of the others, and their run: videos in, shards without near-duplicates out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curator_dask.errors import InputError, OpenFailureError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.keywords import with_suggestions
from curator_dask.stages.align.parameters import AlignParameters
from curator_dask.stages.align.stage import AlignStage
from curator_dask.stages.base import RunContext, Stage, StageResult, check_first, run_context
from curator_dask.stages.cross_cluster.stage import CrossClusterStage, require_cross_cluster
from curator_dask.stages.dry_run import plan_stages
from curator_dask.stages.embed.parameters import EmbedParameters
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.export.metadata import check_metadata
from curator_dask.stages.export.parameters import ExportParameters
from curator_dask.stages.export.stage import ExportStage
from curator_dask.stages.identify.parameters import RULE_BY_INPUT, IdentifyParameters
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.parameters import KMeansParameters
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.parameters import PairwiseParameters
from curator_dask.stages.pairwise.stage import PairwiseStage
from curator_dask.stages.run_record import add_totals, describe_failures, write_run_record
from curator_dask.stages.split.stage import SplitStage
from curator_dask.workflow_result import WorkflowResult


@with_suggestions
@dataclass(frozen=True)
class Workflow:
    """A whole run: what is cut and where it goes, and the parameters of the later stages.

    Args:
        split: the split stage, with the folder of the videos and the output folder of the run.
        embed: parameters of the embed stage.
        kmeans: parameters of the k-means stage.
        pairwise: parameters of the pairwise stage.
        identify: parameters of the identify stage. Without `eps` and `target_keep`, the embedding model's own eps is used.
        export: parameters of the export stage.
        cross_cluster: also find duplicates that k-means put in different clusters.
        keep: which of similar clips to keep, by columns of the clip index: ``largest``, ``longest``, ``column:desc`` and
            the like, several with commas. It replaces `pairwise.which_to_keep`.
        align: from where on two stretches are the same moment, for the rule ``overlap``.
        against: the output of another run, or several of these, which are not changed: clips that their kept clips show are
            removed too.
        recall: with `cross_cluster`: the share of the pairs within eps to find, as a sample estimates it, such as 0.999. None:
            what the usual budget finds.
    """

    split: SplitStage
    embed: EmbedParameters = field(default_factory=EmbedParameters)
    kmeans: KMeansParameters = field(default_factory=KMeansParameters)
    pairwise: PairwiseParameters = field(default_factory=PairwiseParameters)
    identify: IdentifyParameters = field(default_factory=IdentifyParameters)
    export: ExportParameters = field(default_factory=ExportParameters)
    cross_cluster: bool = False
    keep: str | None = None
    align: AlignParameters = field(default_factory=AlignParameters)
    against: str | Sequence[str] | None = None
    recall: float | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.pairwise.ranking_strategy is not None:
            raise ParameterError(f"keep ({self.keep!r}) and pairwise.ranking_strategy exclude each other: give one")
        if self.keep is not None:
            self.pairwise.keeping(self.keep)
        require_cross_cluster(self.recall, self.cross_cluster)
        for path in self._against():
            if Folder(path, self.split.output_storage_options).root == self.split.output.root:
                raise ParameterError(f"against ({path}) is the output of this run itself: give that of another run")

    def _against(self) -> Sequence[str]:
        return [self.against] if isinstance(self.against, str) else self.against or ()

    def below(self, *parts: str) -> str:
        """The path or URL of a folder or file below the output folder."""
        return self.split.output.below(*parts).url

    def embed_stage(self) -> EmbedStage:
        return EmbedStage(
            input_path=self.split.output_path,
            video_dir=self.split.video_dir,
            **vars(self.embed),
            **self._clip_options(),
        )

    def dedup_stages(self) -> list[Stage]:
        """The stages from vectors to decisions, in order."""
        kmeans = self._kmeans_stage()
        pairwise = self._pairwise_stage(kmeans)
        scores: list[PairwiseStage | CrossClusterStage] = [pairwise]
        if self.cross_cluster:
            scores.append(
                CrossClusterStage.after(
                    pairwise, self.below(layout.CROSS_CLUSTER), self._cross_cluster_eps(), self.recall
                )
            )
        aligned = [self._align_stage()] if self.needs_overlaps() else []
        return [kmeans, *scores, *aligned, self._identify_stage(kmeans, scores[-1])]

    def needs_overlaps(self) -> bool:
        """Whether the moments that clips share decide, alone or before similarity does. Raises ParameterError without tracks."""
        if self.identify.also is None:
            return self.decides_by_overlap()
        if not self.embed.tracks:
            raise ParameterError("also 'copies' compares the tracks of clips, and tracks is False: leave it True")
        return True

    def decides_by_overlap(self) -> bool:
        """Whether the moments that clips share decide alone. Raises ParameterError if they should and no tracks are made."""
        if self.identify.also is not None:
            return False
        if self.identify.rule == RULE_BY_INPUT:
            by_score = self.identify.eps is not None or self.cross_cluster or self.identify.recall_sample > 0
            if by_score or not self.embed.tracks:
                return False
            return bool(self.against) or self.embed_stage().model().fingerprint().get("weights") == "none"
        if self.identify.rule == "overlap" and not self.embed.tracks:
            raise ParameterError("rule 'overlap' compares the tracks of clips, and tracks is False: leave it True")
        return self.identify.rule == "overlap"

    def _align_stage(self) -> AlignStage:
        return AlignStage(
            input_path=self.embed_stage().output.url,
            output_path=self.below(layout.OVERLAPS),
            reference_path=self.against,
            **vars(self.align),
            **self._table_options(),
        )

    def _kmeans_stage(self) -> KMeansStage:
        return KMeansStage(
            input_path=self.embed_stage().output.url,
            output_path=self.below(layout.KMEANS),
            **vars(self.kmeans),
            **self._table_options(),
        )

    def _pairwise_stage(self, kmeans: KMeansStage) -> PairwiseStage:
        parameters = self.pairwise
        if self.keep is not None:
            parameters = parameters.keeping(self.keep)
        return PairwiseStage(
            input_path=kmeans.output_path,
            output_path=self.below(layout.PAIRWISE),
            clips_path=None if parameters.ranking_strategy is None else self.split.output_path,
            **vars(parameters),
            **self._table_options(),
        )

    def _identify_stage(
        self, kmeans: KMeansStage, scores: PairwiseStage | CrossClusterStage
    ) -> IdentifyDuplicatesStage:
        by_overlap = self.decides_by_overlap()
        eps = None if by_overlap else self._eps()
        return IdentifyDuplicatesStage(
            input_path=scores.output_path,
            kmeans_path=kmeans.output_path,
            output_path=self.below(layout.DUPLICATES),
            clips_path=self.split.output_path,
            overlaps_path=self.below(layout.OVERLAPS) if self.needs_overlaps() else None,
            against_path=self.against,
            **vars(replace(self.identify, eps=eps)),
            **self._table_options(),
        )

    def export_stage(self) -> ExportStage:
        return ExportStage(
            input_path=self.split.output_path,
            output_path=self.below(layout.DATASET),
            duplicates_path=self.below(layout.DUPLICATES),
            pairwise_path=self.below(layout.CROSS_CLUSTER if self.cross_cluster else layout.PAIRWISE),
            embeddings_path=self.embed_stage().output.url,
            **vars(self.export),
            **self._clip_options(),
        )

    def _eps(self) -> float | None:
        """The eps to decide by; None if `target_keep` leads to one."""
        if self.identify.target_keep is not None:
            return None
        return self.identify.eps_for_model(self.embed_stage().model().default_eps)

    def _cross_cluster_eps(self) -> float:
        eps = self._eps()
        if eps is None:
            raise ParameterError("cross_cluster looks for pairs within eps: give eps, not target_keep")
        return eps

    def _clip_options(self) -> dict[str, Any]:
        """Storage options for stages that read and write clips."""
        options = dict(self.split.output_storage_options)
        return {"input_storage_options": options, "output_storage_options": options}

    def _table_options(self) -> dict[str, Any]:
        """Storage options for stages that read and write tables."""
        options = {"storage_options": dict(self.split.output_storage_options)}
        return {"read_kwargs": options, "write_kwargs": options}

    def run(self, context: RunContext | None = None) -> WorkflowResult:
        """Run every stage. Each continues where an earlier run stopped; a finished run changes no file."""
        # The lock of the first stage is taken before anything is loaded, so that a second run is refused at once.
        with run_context(context=context) as context:
            self._check_first(context)
            with context.holding([self.split]):
                return self._run(context)

    def _check_first(self, context: RunContext) -> None:
        """Refuse what can be refused before models are loaded, which takes seconds."""
        check_first(self.split, context)
        self.identify.read_overrides(self.split.output_storage_options)
        check_metadata(self.export, self.split.output_storage_options)

    def _run(self, context: RunContext) -> WorkflowResult:
        context.reporter.say(f"loading the embedding model {self.embed.embedding_algorithm}")
        # Built and checked before any work, so that a wrong parameter of the last stage does not show up after hours.
        later, export = self.dedup_stages(), self.export_stage() if self.split.upload_clips else None
        _check_references(later)
        stages = [self.split, self.embed_stage(), *later, *([export] if export is not None else [])]
        if context.dry_run:
            return WorkflowResult(plan_stages(stages, context), None, self.split.output)
        with context.holding(stages):
            for stage in stages:
                stage.check(context)
            return self._run_all(stages, context)

    def _run_all(self, stages: Sequence[Stage], context: RunContext) -> WorkflowResult:
        results = [run_split(replace(self.split, vectors=self.embed_stage()), context)]
        results.append(self.embed_stage().run(context=context))
        _require("embeddings", "no clip got a usable vector", results[-1], self.embed_stage())
        results.extend(stage.run(context=context) for stage in stages[2:])
        totals = add_totals(results)
        write_run_record(self.split.output, stages, results, totals)
        return WorkflowResult(tuple(results), totals, self.split.output)


def _check_references(stages: Sequence[Stage]) -> None:
    """Raise InputError where the output that new clips are held against, or the file of decisions by hand, is no good."""
    for stage in stages:
        if isinstance(stage, AlignStage):
            stage.references()
        elif isinstance(stage, IdentifyDuplicatesStage):
            stage.check_references()
            stage.decisions_by_hand()


def run_split(stage: SplitStage, context: RunContext) -> StageResult:
    """Run the split stage. Raises InputError if no clip came out."""
    result = stage.run(context=context)
    _require("clips", "no clip came out of the videos", result, stage, stage.vectors)
    return result


def split_and_embed(split: SplitStage, embed: EmbedStage | None, context: RunContext) -> WorkflowResult:
    """The split command of the original workflow: cut clips, and embed them if there is an embed stage."""
    stages: list[Stage] = [split, *([embed] if embed is not None else [])]
    if context.dry_run:
        return WorkflowResult(plan_stages(stages, context), None, split.output)
    with context.holding(stages):
        results = [run_split(replace(split, vectors=embed), context)]
        results.extend(stage.run(context=context) for stage in stages[1:])
        write_run_record(split.output, stages, results, None)
    return WorkflowResult(tuple(results), None, split.output)


def _require(count: str, what: str, result: StageResult, *stages: Stage | None) -> None:
    """Raise InputError if this count is 0, or OpenFailureError where another run may help.

    The folders of these stages are then free for a corrected command.
    """
    if result.counts[count]:
        return
    for state in (stage.state() for stage in stages if stage is not None):
        if state is not None:
            state.release(count)
    events = [(one.reason, one.message) for one in result.failures] + [
        (one.reason, one.message) for one in result.plain
    ]
    reasons = sorted({f"{reason}: {message}" for reason, message in events})
    shown = "; ".join(reasons[:3]) or "every video is shorter than the shortest clip"
    plain = f", {counted(len(result.plain), 'plain clips')}" if result.plain else ""
    advice = ". Plain clips can be exported without comparing them: export with --all-clips" if result.plain else ""
    told = f"{what} ({result.stage}: {counted(len(result.failures), 'failures')}{plain}). {shown}{advice}"
    if result.num_open:
        raise OpenFailureError(f"{told}. {describe_failures([result])}")
    raise InputError(told)
