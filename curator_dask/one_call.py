"""The whole job in one call: every parameter of every stage as an argument of one function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from curator_dask.keywords import with_suggestions
from curator_dask.stages.align.parameters import AlignParameters
from curator_dask.stages.base import run_context
from curator_dask.stages.embed.parameters import EmbedParameters
from curator_dask.stages.export.parameters import ExportParameters
from curator_dask.stages.identify.parameters import IdentifyParameters
from curator_dask.stages.kmeans.parameters import FIT_ROWS_PER_CLUSTER, KMeansParameters
from curator_dask.stages.pairwise.parameters import PairwiseParameters
from curator_dask.stages.split.stage import SplitStage
from curator_dask.workflow import Workflow
from curator_dask.workflow_result import WorkflowResult

if TYPE_CHECKING:
    from distributed import Client
    from numpy.typing import NDArray

    from curator_dask.stages.export.parameters import PlanParameters


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
