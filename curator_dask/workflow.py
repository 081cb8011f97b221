"""The whole job in one call: videos in, training shards without near-duplicates out, and counts that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

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
from curator_dask.stages.glance import glance_at
from curator_dask.stages.identify.parameters import RULE_BY_INPUT, IdentifyParameters
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.parameters import FIT_ROWS_PER_CLUSTER, KMeansParameters
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.parameters import PairwiseParameters
from curator_dask.stages.pairwise.stage import PairwiseStage
from curator_dask.stages.run_record import Totals, add_totals, describe_failures, write_run_record
from curator_dask.stages.split.stage import SplitStage

if TYPE_CHECKING:
    from distributed import Client
    from numpy.typing import NDArray

    from curator_dask.stages.export.parameters import PlanParameters


@dataclass(frozen=True)
class WorkflowResult:
    """The results of the stages in order, and the number of clips kept, removed, plain and failed."""

    stages: tuple[StageResult, ...]
    totals: Totals | None
    """None if no decisions were made: in a dry run, or after split and embed alone."""
    output: Folder

    @property
    def num_open(self) -> int:
        """Failures that say something of the machine and not of the data: a new run tries them again."""
        return sum(result.num_open for result in self.stages)

    @property
    def num_failed(self) -> int:
        """Failures that are a property of the data, and would come again."""
        return sum(result.num_failed for result in self.stages)

    def stage(self, name: str) -> StageResult:
        return next(result for result in self.stages if result.stage == name)

    def __repr__(self) -> str:
        told = self.totals or ", ".join(result.stage for result in self.stages)
        return f"<WorkflowResult: {told} → {self.output.url}>"

    def _repr_html_(self) -> str:
        tables = "".join(result._repr_html_() for result in self.stages)
        if self.totals is None:
            return tables
        seen = glance_at(self.output, self.totals.counts())
        return (seen or f"<b>{self.totals}</b>") + f"<details><summary>the steps</summary>{tables}</details>"


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


@with_suggestions
def curate(
    video_dir: str,
    output_path: str,
    *,
    client: Client | None = None,
    video_limit: int | None = None,
    splitting_algorithm: str = "fixed_stride",
    fixed_stride_split_duration: float = 10.0,
    fixed_stride_stride: float | None = None,
    fixed_stride_min_clip_length_s: float = 2.0,
    content_threshold: float = 3.0,
    transnetv2_threshold: float = 0.4,
    transnetv2_min_length_s: float = 2.0,
    transnetv2_max_length_s: float = 10.0,
    transnetv2_max_length_mode: Literal["stride", "truncate"] = "stride",
    transnetv2_crop_s: float = 0.5,
    transnetv2_refine: bool = True,
    spans: str | None = None,
    limit_clips: int = 0,
    transcode_encoder: str = "libopenh264",
    transcode_encoder_threads: int = 1,
    transcode_use_input_video_bit_rate: bool = False,
    transcode_bit_rate: str | None = None,
    audio: str = "1",
    deinterlace: bool = False,
    max_hold_s: float | None = None,
    max_video_hours: float | None = None,
    part_minutes: float = 120.0,
    upload_clips: bool = True,
    relative_ids: bool = False,
    ids: str = "exact",
    include: str | Sequence[str] | None = (),
    exclude: str | Sequence[str] | None = (),
    follow_links: bool = False,
    input_storage_options: Mapping[str, Any] | None = None,
    output_storage_options: Mapping[str, Any] | None = None,
    embedding_algorithm: str = "pdqf_tmk_nobars",
    model_dir: str = "./models",
    frame_sampling: str = "uniform",
    frames_from: str = "auto",
    dtype: str = "auto",
    torch_device: str = "auto",
    trust_remote_code: bool = False,
    model_settings: Mapping[str, Any] | Sequence[str] | None = None,
    decode_threads: int | None = None,
    tracks: bool = True,
    n_clusters: int | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int = 42,
    init: str | NDArray[Any] = "k-means||",
    n_init: int = 1,
    oversampling_factor: float = 2.0,
    max_samples_per_batch: int = 32768,
    fit_data_fraction: float | None = None,
    fit_rows_per_cluster: int = FIT_ROWS_PER_CLUSTER,
    exact_assignment: bool = False,
    which_to_keep: str = "hard",
    keep: str | None = None,
    sim_metric: str = "cosine",
    pairwise_batch_size: int = 1024,
    cross_cluster: bool = False,
    recall: float | None = None,
    eps: float | None = None,
    target_keep: float | None = None,
    rule: str = "auto",
    also: str | None = None,
    min_cover: float = 0.8,
    strictness: float = 0.0,
    min_still_likeness: float = 0.92,
    mirrored: bool = False,
    against: str | Sequence[str] | None = None,
    scope: str = "all",
    recall_sample: int = 0,
    min_motion: float | None = None,
    max_static_share: float | None = None,
    drop_black: bool = False,
    overrides: str | None = None,
    format: str = "webdataset",
    media: str = "copy",
    dataset_name: str = "clips",
    plain: str = "keep",
    previews: bool = False,
    metadata: str | None = None,
    metadata_key: str | None = None,
    metadata_columns: str | Sequence[str] | None = None,
    caption_column: str | None = None,
    shards: PlanParameters | None = None,
    retry_failed: bool = False,
) -> WorkflowResult:
    """Videos → training shards without near-duplicates, in one call. It continues where an earlier call stopped.

    Args:
        video_dir: the videos: a folder (searched recursively), file, glob or URL.
        output_path: the output root, a folder or a URL.
        client: the Dask client to run on. None: the active client, else local processes.
        video_limit: only the first N videos in path order.
        splitting_algorithm: how videos are cut: ``fixed_stride`` (clips of one length, whatever they show), ``transnetv2``
            or ``content`` (no clip goes beyond its shot, as found by a network or by comparing frames).
        fixed_stride_split_duration: clip length in seconds; with ``content``, of clips from one shot.
        fixed_stride_stride: seconds from one clip start to the next; None: the clip length.
        fixed_stride_min_clip_length_s: shortest clip in seconds; shorter ends are dropped and counted.
        content_threshold: how many times as much the two sides of a cut differ as neighbouring frames do, at least.
        transnetv2_threshold: probability above which a frame belongs to a change of shots.
        transnetv2_min_length_s: shortest clip in seconds; shorter ones are dropped and counted.
        transnetv2_max_length_s: longest clip in seconds, before it is cropped.
        transnetv2_max_length_mode: what becomes of longer shots: ``stride`` (several clips) or ``truncate`` (only the first).
        transnetv2_crop_s: seconds taken away from both ends of each clip.
        transnetv2_refine: whether the pictures have a say beside the network: a flash is no cut, and a clear cut that the
            network misses is one. False: the network alone.
        spans: a table of your own with the columns ``path``, ``start`` and ``end`` (seconds): these spans are cut, no others.
        limit_clips: only the first N clips of each video; 0: all.
        transcode_encoder: ``libopenh264``, ``libx264``, ``h264_nvenc``, or ``copy`` (no encoding, cuts at key frames).
        transcode_encoder_threads: encoder threads per ffmpeg process.
        transcode_use_input_video_bit_rate: encode at the bit rate of the source video.
        transcode_bit_rate: encode at this bit rate, such as ``4M``; None: constant quality.
        audio: sound of the clips: the number of one track (``1`` is the first), ``all`` or ``none``.
        deinterlace: make interlaced pictures whole; False: keep both fields in each.
        max_hold_s: the most seconds of a clip, at its start or end, in which a picture may be held over a pause without
            frames; None: the whole clip.
        max_video_hours: longer videos are not cut: each is a failure with the reason ``too-long``; None: no limit.
        part_minutes: videos that last longer are cut in parts of about this many minutes, each with a checkpoint of its own;
            0: never.
        upload_clips: write the clips as MP4 files; False: only plan and record them, and export nothing.
        relative_ids: make clip ids from paths relative to `video_dir`, so that ids stay when the videos are moved.
        ids: how clip ids follow from the times of a clip: ``exact``, or ``original`` (as the original workflow rounds
            them), so that ids equal those of output that it has made.
        include: globs such as ``*.mp4`` or ``day1/**``; only files that one of them chooses are read.
        exclude: globs; files that one of them chooses are left out.
        follow_links: also read what symbolic links out of `video_dir` lead to.
        input_storage_options: fsspec options for `video_dir`.
        output_storage_options: fsspec options for `output_path`.
        embedding_algorithm: name of the embedding model, or ``hf:FOLDER`` or ``onnx:FILE``.
        model_dir: folder with model weights.
        frame_sampling: frames that the model sees: ``uniform`` (over the whole clip) or ``prefix``.
        frames_from: where frames are decoded from: ``clips``, ``source`` (the videos) or ``auto``.
        dtype: number type that a network computes in: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        torch_device: where the model runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        trust_remote_code: allow Python code from the model's folder to run.
        model_settings: settings that only the model understands, as a mapping or as texts ``NAME=VALUE``.
        decode_threads: clips decoded at the same time, ahead of the model; None: chosen by the device.
        tracks: write a track beside each vector: what the clip shows every half second.
        n_clusters: number of clusters; None: one per 1000 rows, at most 1000.
        max_iter: largest number of iterations of k-means.
        tol: stop k-means when an iteration lowers the cost by less than this share.
        random_state: seed of k-means, and of the ranking ``random``.
        init: first centroids: ``k-means||``, ``random``, or an array (n_clusters, D).
        n_init: number of fits from different first centroids; the best one is kept.
        oversampling_factor: candidates per cluster that each round of ``k-means||`` draws.
        max_samples_per_batch: rows whose distances to all centroids are in memory at a time.
        fit_data_fraction: share of the rows to fit on; None: all of up to 262,144 rows, else `fit_rows_per_cluster`; at most
            as many as 2 GiB of vectors hold.
        fit_rows_per_cluster: rows per cluster to fit on where there are more than 262,144 rows, and at least 65,536 in all;
            the last iterations take twice as many.
        exact_assignment: compare every row with all centroids, also from 4,096 clusters on, where a row is otherwise compared
            with those of the nearest groups of centroids if 99 % of the rows get their nearest one so.
        which_to_keep: which of similar clips to keep: ``hard`` (far from the centroid), ``easy`` (near it), ``random``.
        keep: instead of `which_to_keep`: ``largest``, ``longest``, ``column:desc`` and the like, several with commas.
        sim_metric: distance to the centroid that ranks: ``cosine`` or ``l2``.
        pairwise_batch_size: rows that are compared at a time.
        cross_cluster: also find duplicates that k-means put in different clusters.
        recall: with `cross_cluster`: the share of the pairs within eps to find, as a sample estimates it, such as 0.999.
        eps: clips with a similarity of at least 1 - eps are duplicates; None: the model's own eps.
        target_keep: instead of `eps`: use the largest eps that keeps at least this share of the clips.
        rule: which similar clips cause a removal: ``pairwise`` (any clip ranked before it) or ``greedy`` (kept clips only),
            both by their similarity; or ``overlap`` (kept clips that show the same moments). ``auto``: ``overlap`` for
            models without weights unless `eps`, `cross_cluster` or `recall_sample` is given; else ``pairwise``.
        also: ``copies``: remove copies by the rule ``overlap``, and then near neighbours among the clips that are left by
            the rule ``greedy``; None: one rule decides.
        min_cover: with the rule ``overlap``: a clip is removed if kept clips show at least this share of its length.
        strictness: with the rule ``overlap``: raises the likeness of motion that a copy needs, from 0 to 1; below 0 lowers it.
        min_still_likeness: with the rule ``overlap``: still pictures are the same if every part is this much alike.
        mirrored: with the rule ``overlap``: also find copies whose picture is mirrored; aligning takes about twice as long.
        against: the output of another run, such as an evaluation set, or several of these, which are not changed: clips that
            their kept clips show are removed too. It needs the rule ``overlap``.
        scope: which pairs count: ``all``, ``cross`` (of different source videos) or ``same`` (of one source video).
        recall_sample: compare this many sampled rows with all rows, to measure what the clusters hide.
        min_motion: drop clips with a lower ``motion_mean``, from 0 to 1, before anything is decided.
        max_static_share: drop clips with a higher ``frozen_share``, from 0 to 1.
        drop_black: drop clips of which at least 90 % of the frames are black (``black_share``).
        overrides: a CSV file of decisions by hand (id, decision, note), which go over those of the rule.
        format: ``webdataset`` or ``parquet``.
        media: with format ``parquet``: ``copy`` the media, or ``reference`` them.
        dataset_name: name in the manifest and the dataset card.
        plain: what becomes of clips that are too plain for a vector, and so were not compared: ``keep`` or ``drop``.
        previews: also export a preview of each clip, a small WebP with six pictures.
        metadata: a table of your own, a CSV or Parquet file or URL: its rows are joined to the clips, and its columns go into
            the JSON of each sample as ``metadata``.
        metadata_key: its column that names clips, by their ids, or videos, by path or file name; None: the one that names most.
        metadata_columns: its columns to carry; None: all but the key and the caption.
        caption_column: its column whose texts become the ``.txt`` member of each sample.
        shards: order, splits and limits of the shards; None: one split ``train`` in shards of at most 1 GB.
        retry_failed: also do again what failed for good, as a property of the bytes. Open failures, which the machine
            caused, are tried again in any case.

    Returns:
        The results of all stages, and the number of clips kept, removed, dropped, plain, failed and open. `num_open` of the
        result counts all failures that a new run tries again.
    """
    values = locals()
    workflow = Workflow(
        SplitStage(**_parameters_of(SplitStage, values)),
        EmbedParameters(**_parameters_of(EmbedParameters, values)),
        KMeansParameters(**_parameters_of(KMeansParameters, values)),
        PairwiseParameters(**_parameters_of(PairwiseParameters, values), random_seed=random_state),
        IdentifyParameters(**_parameters_of(IdentifyParameters, values)),
        ExportParameters(**_parameters_of(ExportParameters, values)),
        cross_cluster,
        keep,
        AlignParameters(**_parameters_of(AlignParameters, values)),
        against,
        recall,
    )
    with run_context(client) as context:
        return workflow.run(replace(context, retry_failed=retry_failed))


def _parameters_of(owner: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are parameters of a class; a None leaves a parameter with a default factory to that factory."""
    given = {one.name: values[one.name] for one in fields(owner) if one.name in values}
    factories = {one.name for one in fields(owner) if one.default_factory is not MISSING}
    return {name: value for name, value in given.items() if value is not None or name not in factories}


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
