"""Options that say what the training data looks like, and how it is verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import EXPORT
from curator_dask.errors import ParameterError

if TYPE_CHECKING:
    from curator_dask import ExportParameters

option = options_in(EXPORT)
PREVIEWS = "previews"

DuplicatesPath = Annotated[
    str | None, option("--duplicates-path", help="Output of identify: the clips that it removed are left out.")
]
RemovedPath = Annotated[
    str | None, option("--duplicates-path", help="Output of identify: no clip that it removed may be in a shard.")
]
PairwisePath = Annotated[str | None, option("--pairwise-path", help="Output of pairwise: adds the scores.")]
EmbeddingsPath = Annotated[
    str | None,
    option(
        "--embeddings-path", help="Output of embed, which lists the plain clips. Default: the one below --input-path."
    ),
]
AllClips = Annotated[bool, option("--all-clips", help="Export every good clip, duplicates too.")]
KeepList = Annotated[
    str | None,
    option("--keep-list", help="A text file of ids, such as sample/keep.txt: only these of the clips are exported."),
]
ListOfExport = Annotated[
    str | None,
    option("--keep-list", help="The list that was exported: its clips, and no others, must be in the shards."),
]
DatasetPath = Annotated[
    str, typer.Argument(metavar="OUT", help="The output of a run, or the folder that export wrote.")
]
Quick = Annotated[bool, option("--quick", help="Compare sizes only, and read no file but the records.")]
Repair = Annotated[
    bool,
    option("--repair", help="Mark what is broken as not done: the same command as before then redoes exactly that."),
]
ClipsOpened = Annotated[
    int, option("--clips-opened-per-shard", help="Number of MP4 files per shard to open as videos.")
]

Format = Annotated[
    str, option("--format", values=("webdataset", "parquet"), help="Shards for training, or a table of the clips.")
]
Media = Annotated[
    str,
    option(
        "--media",
        values=("copy", "reference"),
        help="With --format parquet: copy the clips, or name them where they are.",
    ),
]
DatasetName = Annotated[str, option("--dataset-name", help="Name in the manifest and the dataset card.")]
Plain = Annotated[
    str,
    option(
        "--plain",
        values=("keep", "drop"),
        help="What becomes of clips that are too plain to be compared, as they have no vector.",
    ),
]
With = Annotated[
    str | None, option("--with", values=(PREVIEWS,), help="previews: also a small WebP with six pictures of each clip.")
]
Metadata = Annotated[
    str | None,
    option(
        "--metadata",
        help="A CSV or Parquet file of yours: its rows are joined to the clips, and its columns go into the JSON of samples.",
    ),
]
MetadataKey = Annotated[
    str | None,
    option(
        "--metadata-key",
        help="Column of --metadata that names clips by id, or videos by path or file name. Default: the one that names most.",
    ),
]
MetadataColumns = Annotated[
    str | None,
    option("--metadata-columns", help="Columns of --metadata to carry, with commas. Default: all but key and caption."),
]
CaptionColumn = Annotated[
    str | None, option("--caption-column", help="Column of --metadata that becomes the .txt member of each sample.")
]
Split = Annotated[str, option("--split", help="Shares of the splits, for instance train=.98,val=.02.")]
Order = Annotated[str, option("--order", values=("shuffled", "sorted"), help="Order of the clips.")]
Seed = Annotated[int, option("--seed", help="Seed of the order and the splits.")]
ShardBytes = Annotated[int, option("--shard-bytes", help="Largest size of a shard in bytes.")]
ShardClips = Annotated[int, option("--shard-clips", help="Largest number of clips per shard.")]
MinShards = Annotated[
    int, option("--min-shards", help="Smallest number of shards per split, for instance one per loader worker.")
]


@dataclass(frozen=True)
class ExportOptions:
    """The format of the training data, its splits and its shards."""

    format: Format = "webdataset"
    media: Media = "copy"
    dataset_name: DatasetName = "clips"
    plain: Plain = "keep"
    with_members: With = None
    metadata: Metadata = None
    metadata_key: MetadataKey = None
    metadata_columns: MetadataColumns = None
    caption_column: CaptionColumn = None
    split: Split = "train=1"
    order: Order = "shuffled"
    seed: Seed = 0
    shard_bytes: ShardBytes = 1_000_000_000
    shard_clips: ShardClips = 10_000
    min_shards: MinShards = 1

    def parameters(self) -> ExportParameters:
        """These options as the parameters of the export stage. Raises ParameterError if they are not valid."""
        from curator_dask import ExportParameters, PlanParameters
        from curator_dask.export.splits import parse_splits

        if self.with_members not in (None, PREVIEWS):
            raise ParameterError(f"--with ({self.with_members!r}) must be {PREVIEWS}")
        shards = PlanParameters(
            order=self.order,
            seed=self.seed,
            splits=parse_splits(self.split),
            shard_bytes=self.shard_bytes,
            shard_clips=self.shard_clips,
            min_shards=self.min_shards,
        )
        return ExportParameters(
            format=self.format,
            media=self.media,
            dataset_name=self.dataset_name,
            plain=self.plain,
            previews=self.with_members == PREVIEWS,
            metadata=self.metadata,
            metadata_key=self.metadata_key,
            metadata_columns=self.metadata_columns,
            caption_column=self.caption_column,
            shards=shards,
        )
