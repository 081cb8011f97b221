"""The whole job in one call: videos in, training shards without near-duplicates out, and counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext, Stage, StageResult, run_context
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.embed.parameters import FOLLOW_WORKERS
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.export.stage import ExportStage
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.stage import PairwiseStage
from curator_dask.stages.run_record import Totals, add_totals, write_run_record
from curator_dask.stages.split.stage import SplitStage


@dataclass(frozen=True)
class WorkflowResult:
    """The results of the stages in order, and their sum."""

    stages: tuple[StageResult, ...]
    totals: Totals | None
    """None where the run ended before decisions were made (a dry run, no clips written)."""
    output: Folder

    def stage(self, name: str) -> StageResult:
        return next(result for result in self.stages if result.stage == name)

    def _repr_html_(self) -> str:
        return "".join(result._repr_html_() for result in self.stages) + (
            f"<b>{self.totals}</b>" if self.totals else ""
        )


@dataclass(frozen=True)
class Workflow:
    """All parameters of a run: those of the split stage, and what the later stages need beside it."""

    split: SplitStage
    embedding_algorithm: str = "pdqf_tmk_nobars"
    model_dir: str = "./models"
    frame_sampling: str = "uniform"
    frames_from: str = "auto"
    dtype: str = "auto"
    torch_device: str = FOLLOW_WORKERS
    trust_remote_code: bool = False
    decode_threads: int | None = None
    n_clusters: int | None = None
    which_to_keep: str = "hard"
    keep: str | None = None
    """Instead of `which_to_keep`: ``largest,longest``, ``column:desc`` and the like, of the columns of the clip index."""
    sim_metric: str = "cosine"
    pairwise_batch_size: int = 1024
    random_state: int = 42
    eps: float | None = None
    """None: the model's own default, or what `target_keep` comes to."""
    target_keep: float | None = None
    """Instead of eps: the largest eps that leaves at least this share of the clips."""
    rule: str = "pairwise"
    """``pairwise``, or ``greedy``: see `IdentifyDuplicatesStage`."""
    scope: str = "all"
    """Pairs that count: all, ``cross`` (of different source videos) or ``same`` (of one)."""
    cross_cluster: bool = False
    """Find duplicates that k-means put in different clusters too."""
    export: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the export stage beside its paths."""

    def below(self, *parts: str) -> str:
        return self.split.output.below(*parts).url

    @property
    def output_options(self) -> dict[str, Any]:
        return dict(self.split.output_storage_options)

    def embed_stage(self) -> EmbedStage:
        return EmbedStage(
            input_path=self.split.output_path,
            embedding_algorithm=self.embedding_algorithm,
            model_dir=self.model_dir,
            frame_sampling=self.frame_sampling,
            frames_from=self.frames_from,
            dtype=self.dtype,
            torch_device=self.torch_device,
            trust_remote_code=self.trust_remote_code,
            decode_threads=self.decode_threads,
            video_dir=self.split.video_dir,
            input_storage_options=self.output_options,
            output_storage_options=self.output_options,
        )

    def dedup_stages(self) -> list[Stage]:
        kwargs = {"storage_options": self.output_options}
        embed = self.embed_stage()
        eps = self.eps
        if eps is None and self.target_keep is None:
            eps = embed.model().default_eps
        kmeans = KMeansStage(
            self.n_clusters,
            input_path=embed.output.url,
            output_path=self.below(layout.KMEANS),
            random_state=self.random_state,
            read_kwargs=kwargs,
            write_kwargs=kwargs,
        )
        pairwise = PairwiseStage(
            input_path=kmeans.output_path,
            output_path=self.below(layout.PAIRWISE),
            which_to_keep=self.which_to_keep,
            sim_metric=self.sim_metric,
            pairwise_batch_size=self.pairwise_batch_size,
            random_seed=self.random_state,
            ranking_strategy=None if self.keep is None else parse_keep(self.keep),
            clips_path=None if self.keep is None else self.split.output_path,
            read_kwargs=kwargs,
            write_kwargs=kwargs,
        )
        across = self._cross_cluster_stage(pairwise, eps)
        scores: list[Stage] = [pairwise] if across is None else [pairwise, across]
        identify = IdentifyDuplicatesStage(
            input_path=pairwise.output_path if across is None else across.output_path,
            kmeans_path=kmeans.output_path,
            output_path=self.below(layout.DUPLICATES),
            eps=eps,
            target_keep=self.target_keep,
            rule=self.rule,
            scope=self.scope,
            clips_path=self.split.output_path,
            read_kwargs=kwargs,
            write_kwargs=kwargs,
        )
        return [kmeans, *scores, identify]

    def _cross_cluster_stage(self, pairwise: PairwiseStage, eps: float | None) -> CrossClusterStage | None:
        if not self.cross_cluster:
            return None
        if eps is None:
            raise ParameterError("cross_cluster looks for pairs within eps: give eps, not target_keep")
        return CrossClusterStage.after(pairwise, self.below(layout.CROSS_CLUSTER), eps)

    def export_stage(self) -> ExportStage:
        return ExportStage(
            input_path=self.split.output_path,
            output_path=self.below(layout.DATASET),
            duplicates_path=self.below(layout.DUPLICATES),
            pairwise_path=self.below(layout.CROSS_CLUSTER if self.cross_cluster else layout.PAIRWISE),
            input_storage_options=self.output_options,
            output_storage_options=self.output_options,
            **self.export,
        )

    def run(self, context: RunContext | None = None) -> WorkflowResult:
        """Run every stage; each goes on where an earlier run stopped, and a finished job is left untouched."""
        with run_context(context=context) as context:
            return self._run(context)

    def _run(self, context: RunContext) -> WorkflowResult:
        if context.dry_run:
            return WorkflowResult((self.split.run(context=context),), None, self.split.output)
        # Built before any work, so that a parameter of the last stage is not refused after hours of the first.
        later, export = self.dedup_stages(), self.export_stage() if self.split.upload_clips else None
        results = [run_split(replace(self.split, vectors=self.embed_stage()), context)]
        results.append(self.embed_stage().run(context=context))
        _require(results[-1].counts["embeddings"], "no clip got a usable vector", results[-1])
        results.extend(stage.run(context=context) for stage in later)
        if export is not None:
            results.append(export.run(context=context))
        totals = add_totals(results)
        stages = [self.split, self.embed_stage(), *later, *([export] if export is not None else [])]
        write_run_record(self.split.output, stages, results, totals)
        return WorkflowResult(tuple(results), totals, self.split.output)


def run_split(stage: SplitStage, context: RunContext) -> StageResult:
    """Run the split stage; raises InputError where it left nothing to go on with."""
    result = stage.run(context=context)
    _require(result.counts["clips"], "no clip came out of the videos", result)
    return result


def split_and_embed(split: SplitStage, embed: EmbedStage | None, context: RunContext) -> WorkflowResult:
    """The split command of the original workflow: clips, and their vectors unless there is no embed stage."""
    if context.dry_run:
        return WorkflowResult((split.run(context=context),), None, split.output)
    results = [run_split(replace(split, vectors=embed), context)]
    stages: list[Stage] = [split]
    if embed is not None:
        results.append(embed.run(context=context))
        stages.append(embed)
    write_run_record(split.output, stages, results, None)
    return WorkflowResult(tuple(results), None, split.output)


def curate(video_dir: str, output_path: str, *, client: Any = None, **parameters: Any) -> WorkflowResult:
    """Videos → training shards without near-duplicates, in one call.

    Takes the parameters of `SplitStage` and of `Workflow`. Runs on `client`, else on the active Dask client, else on
    local processes.
    """
    from curator_dask.runtime.cluster import LazyCluster

    of_split = {name: parameters.pop(name) for name in list(parameters) if name in SplitStage.__dataclass_fields__}
    workflow = Workflow(SplitStage(video_dir, output_path, **of_split), **parameters)
    return workflow.run(RunContext(LazyCluster.of(client)) if client is not None else None)


def _require(count: int, what: str, result: StageResult) -> None:
    if count:
        return
    reasons = sorted({f"{failure.reason}: {failure.message}" for failure in result.failures})
    shown = "; ".join(reasons[:3]) or "every video is shorter than the shortest clip"
    raise InputError(f"{what} ({result.stage}: {len(result.failures)} failures). {shown}")
