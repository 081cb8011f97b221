"""Every option of the command line, defined once: name, help, and the environment variable that stands for it.

A value comes from the flag, else from ``CURATOR_DASK_{NAME}``, else from the ``--config`` file, else from the default.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator_dask.errors import ParameterError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PANEL_CLUSTER = "Where it runs"
PREFIX = "CURATOR_DASK_"
NOT_PARAMETERS = ("config", "print_config")


def option(*names: str, help: str, **more: Any) -> Any:
    variable = PREFIX + names[0].removeprefix("--").split("/")[0].replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=variable, show_envvar=False, **more)


def load_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of this command."""
    if path is None:
        return None
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"--config: cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"--config: {path} must hold 'name: value' lines, not a {type(values).__name__}")
    known = {parameter.name for parameter in ctx.command.params} - set(NOT_PARAMETERS)
    given = {str(name).replace("-", "_"): value for name, value in values.items()}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ParameterError(f"--config: {path} sets {', '.join(unknown)}; {ctx.info_name} has no such parameter")
    ctx.default_map = {name: value for name, value in given.items() if value is not None}
    return path


def print_config(ctx: typer.Context, wanted: bool) -> None:
    """Print the resolved parameters as YAML, fit for --config, and exit."""
    if not wanted:
        return
    import yaml

    shown = {}
    for parameter in ctx.command.params:
        if parameter.name in ctx.params and parameter.name not in (*NOT_PARAMETERS, "help"):
            value = ctx.params[parameter.name]
            shown[parameter.name] = str(value) if isinstance(value, Path) else value
    typer.echo(yaml.safe_dump(shown, sort_keys=False), nl=False)
    raise typer.Exit


Config = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of parameters; flags and environment come first.",
                 callback=load_config, is_eager=True),
]  # fmt: skip
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the resolved parameters as YAML and exit.")]

VideoDir = Annotated[str, option("--video-dir", help="Folder (recursive), file, glob or URL of the videos.")]
OptionalVideoDir = Annotated[
    str | None, option("--video-dir", help="The source videos, where split wrote no clips (--no-upload-clips).")
]
ModelDir = Annotated[str, option("--model-dir", help="Folder with model weights.")]
OutputPath = Annotated[
    str, option("--output-path", "--output-clip-path", help="Output root: a folder or a URL such as s3://bucket/run.")
]
VideoLimit = Annotated[int | None, option("--video-limit", help="Only the first N videos in path order.")]
SplittingAlgorithm = Annotated[str, option("--splitting-algorithm", help="How videos are cut: fixed_stride.")]
SplitDuration = Annotated[float, option("--fixed-stride-split-duration", help="Clip length in seconds.")]
SplitStride = Annotated[
    float | None,
    option("--fixed-stride-stride", help="Seconds from clip start to clip start; default: the clip length."),
]
MinClipLength = Annotated[
    float, option("--fixed-stride-min-clip-length-s", help="Shorter tails are dropped, and counted.")
]
LimitClips = Annotated[int, option("--limit-clips", help="First N clips of each video; 0 for all.")]
Encoder = Annotated[
    str, option("--transcode-encoder", help="libopenh264, libx264, h264_nvenc, or copy (key-frame cuts).")
]
EncoderThreads = Annotated[int, option("--transcode-encoder-threads", help="Encoder threads of each ffmpeg process.")]
UseInputBitRate = Annotated[
    bool, option("--transcode-use-input-video-bit-rate", help="Encode at the bit rate of the source.")
]
BitRate = Annotated[
    str | None, option("--transcode-bit-rate", help="Encode at this bit rate (4M); default: constant quality.")
]
EmbeddingAlgorithm = Annotated[
    str,
    option("--embedding-algorithm", help="The embedding model: see `curator-dask models list`; hf:FOLDER for others."),
]
FrameSampling = Annotated[
    str, option("--frame-sampling", help="uniform: frames of the whole clip; prefix: as older vectors were made.")
]
FramesFrom = Annotated[
    str, option("--frames-from", help="clips, source (the videos, decoded once for cut and vectors) or auto.")
]
Dtype = Annotated[str, option("--dtype", help="Of a network's arithmetic: auto, float32, bfloat16 or float16.")]
TrustRemoteCode = Annotated[bool, option("--trust-remote-code", help="Let Python code out of the model's folder run.")]
NumClips = Annotated[int, option("--num-clips", help="How many clips to edit and compare.")]
KnownDuplicates = Annotated[
    Path | None,
    option("--known-duplicates", help="CSV file: a line for each group of source videos that show the same thing."),
]
TorchDevice = Annotated[
    str,
    option(
        "--torch-device",
        help="Where the embedding model runs: auto (a GPU where workers have one), cpu, cuda or cuda:1.",
    ),
]
DecodeThreads = Annotated[
    int | None,
    option(
        "--decode-threads", help="Clips read at a time, ahead of the model. Default: 1; for a GPU its share of cores."
    ),
]
GenerateEmbeddings = Annotated[
    bool, option("--generate-embeddings/--no-generate-embeddings", help="Compute vectors, or split only.")
]
UploadClips = Annotated[
    bool, option("--upload-clips/--no-upload-clips", help="Write the MP4 files, or plan and record only.")
]
RelativeIds = Annotated[
    bool, option("--relative-ids", help="Clip ids from paths relative to --video-dir: they survive a move.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; write, decode and encode nothing.")]
Verbose = Annotated[bool, option("--verbose", help="Show the log of Dask and its workers.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace results of other parameters in the output folder.")
]
InputPath = Annotated[str, option("--input-path", help="What to read.")]
StageOutputPath = Annotated[str, option("--output-path", help="Folder or URL to write to.")]
InputFiletype = Annotated[str, option("--input-filetype", help="parquet, jsonl or tmk.")]
NumClusters = Annotated[
    int | None, option("--n-clusters", help="Clusters; default: one a thousand rows, at most 1000.")
]
IdField = Annotated[str, option("--id-field", help="Column of the ids.")]
EmbeddingField = Annotated[str, option("--embedding-field", help="Column of the vectors.")]
EmbeddingDim = Annotated[int | None, option("--embedding-dim", help="Length of a vector; default: as found.")]
MetadataFields = Annotated[
    list[str] | None, option("--metadata-fields", help="Further column to carry along (repeat).")
]
MaxIter = Annotated[int, option("--max-iter", help="Most iterations of the fit.")]
Tol = Annotated[float, option("--tol", help="Stop when the cost falls by less than this share.")]
RandomState = Annotated[int, option("--random-state", help="Seed of k-means and of random choices.")]
InitMethod = Annotated[str, option("--init", help="Start of k-means: k-means|| or random.")]
NInit = Annotated[int, option("--n-init", help="Starts to try; the best fit wins.")]
FitFraction = Annotated[float | None, option("--fit-data-fraction", help="Share of the rows to fit on.")]
CachePath = Annotated[str | None, option("--cache-path", help="Keep a copy of the centroids in this folder.")]
WhichToKeep = Annotated[str, option("--which-to-keep", help="hard (far from the centroid), easy (near) or random.")]
Keep = Annotated[
    str | None,
    option("--keep", help="Instead of --which-to-keep: largest, longest, column:desc, … (commas; see --clips-path)."),
]
RankingClipsPath = Annotated[
    str | None, option("--clips-path", help="The output of split: columns for --keep that kmeans did not carry along.")
]
SimMetric = Annotated[str, option("--sim-metric", help="Distance that ranks: cosine or l2.")]
BatchSize = Annotated[int, option("--pairwise-batch-size", help="Rows a tile.")]
RandomSeed = Annotated[int, option("--random-seed", help="Seed of --which-to-keep random.")]
Eps = Annotated[float | None, option("--eps", help="Clips with a similarity of at least 1 - eps are duplicates.")]
CrossCluster = Annotated[
    bool, option("--cross-cluster", help="Find duplicates that k-means put in different clusters too, up to --eps.")
]
CrossEps = Annotated[float, option("--eps", help="With --cross-cluster: the eps up to which pairs are looked for.")]
TargetKeep = Annotated[
    float | None, option("--target-keep", help="Instead of --eps: the largest eps that keeps this share of the rows.")
]
Rule = Annotated[
    str, option("--rule", help="What a clip goes for: pairwise (any clip ranked before it) or greedy (a kept one).")
]
Scope = Annotated[
    str, option("--scope", help="Pairs that count: all, cross (of different source videos) or same (of one).")
]
SourceField = Annotated[
    str | None, option("--source-field", help="Column that names the source; default: the video, from --clips-path.")
]
KMeansPath = Annotated[str, option("--kmeans-path", help="The output of kmeans, for the vectors.")]
KMeansPaths = Annotated[
    list[str], option("--kmeans-path", help="The finished run's output of kmeans; then those of earlier additions.")
]
DuplicatesPaths = Annotated[
    list[str], option("--duplicates-path", help="The finished run's output of identify; then those of additions.")
]
DecidedEps = Annotated[float | None, option("--eps", help="Default: that of the finished run.")]
DecidedRule = Annotated[str | None, option("--rule", help="pairwise or greedy; default: that of the finished run.")]
RecallSample = Annotated[
    int, option("--recall-sample", help="Compare so many sampled rows with all rows, to see what the clusters hide.")
]
ClipsPath = Annotated[
    str | None, option("--clips-path", help="The output of split: adds source and times to the table.")
]
DuplicatesPath = Annotated[
    str | None, option("--duplicates-path", help="The output of identify: what it removed is left out.")
]
PairwisePath = Annotated[str | None, option("--pairwise-path", help="The output of pairwise: adds the scores.")]
AllClips = Annotated[bool, option("--all-clips", help="Export every good clip, duplicates too.")]
DatasetPath = Annotated[str, typer.Argument(help="The folder that export wrote.")]
ClipsOpened = Annotated[int, option("--clips-opened-per-shard", help="MP4s of each shard to open as videos.")]
Format = Annotated[str, option("--format", help="webdataset or parquet.")]
Media = Annotated[str, option("--media", help="With --format parquet: copy the media, or reference them.")]
DatasetName = Annotated[str, option("--dataset-name", help="Name in the manifest and the dataset card.")]
Split = Annotated[str, option("--split", help="Shares of the splits, for instance train=.98,val=.02.")]
Order = Annotated[str, option("--order", help="Order of the clips: shuffled or sorted.")]
ShardSeed = Annotated[int, option("--seed", help="Seed of the order and the splits.")]
ShardBytes = Annotated[int, option("--shard-bytes", help="Most bytes a shard.")]
ShardClips = Annotated[int, option("--shard-clips", help="Most clips a shard.")]
MinShards = Annotated[int, option("--min-shards", help="Shards a split at least (loader workers).")]
Device = Annotated[str, option("--device", help="auto, cpu or gpu.", rich_help_panel=PANEL_CLUSTER)]
NWorkers = Annotated[
    int | None, option("--n-workers", help="Local worker processes; default: one a core, or one a GPU.",
                       rich_help_panel=PANEL_CLUSTER)
]  # fmt: skip
SchedulerAddress = Annotated[
    str | None, option("--scheduler-address", help="A running Dask scheduler: tcp://host:8786.",
                       rich_help_panel=PANEL_CLUSTER)
]  # fmt: skip
SchedulerFile = Annotated[
    str | None, option("--scheduler-file", help="The scheduler file of a running Dask cluster.",
                       rich_help_panel=PANEL_CLUSTER)
]  # fmt: skip
StorageOption = Annotated[
    list[str] | None,
    typer.Option("--storage-option", help="KEY=VALUE for the file system of URLs (repeat), such as endpoint_url=…"),
]


def parameters_of(ctx: typer.Context, stage: type[DataclassInstance]) -> dict[str, Any]:
    """The options of a command that are parameters of `stage`: both have the same names."""
    return {field.name: ctx.params[field.name] for field in fields(stage) if field.name in ctx.params}


def storage_options(given: list[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as a mapping; ``client_kwargs.endpoint_url=…`` makes a nested one."""
    options: dict[str, Any] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ParameterError(f"--storage-option {pair!r} is not KEY=VALUE")
        target = options
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = {"true": True, "false": False}.get(value.lower(), value)
    return options
