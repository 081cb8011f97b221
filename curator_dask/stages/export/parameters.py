"""The parameters of the export stage that a whole run takes too."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_dask.errors import ParameterError
from curator_dask.export.plan import PlanParameters as PlanParameters
from curator_dask.keywords import with_suggestions

FORMATS = ("webdataset", "parquet")
MEDIA = ("copy", "reference")
PLAIN = ("keep", "drop")


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class ExportParameters:
    """What the training data looks like: its format, its name, and how clips are laid out in shards."""

    format: str = "webdataset"
    """``webdataset``: tar shards of clips. ``parquet``: one table of the kept clips, with their media beside it."""
    media: str = "copy"
    """With format ``parquet``: ``copy`` the media into the export, or ``reference`` them where they are."""
    dataset_name: str = "clips"
    """The name in the manifest and in the dataset card."""
    plain: str = "keep"
    """What becomes of clips that are too plain for a vector, and so were not compared: ``keep`` or ``drop``."""
    previews: bool = False
    """Also make a preview of each clip, ``previews/{id}.webp`` beside the clips, and export it with the clip."""
    shards: PlanParameters = field(default_factory=PlanParameters)
    """The order of the clips, the splits, and the limits of a shard."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ParameterError(f"format ({self.format!r}) must be one of {', '.join(FORMATS)}")
        if self.media not in MEDIA:
            raise ParameterError(f"media ({self.media!r}) must be one of {', '.join(MEDIA)}")
        if self.plain not in PLAIN:
            raise ParameterError(f"plain ({self.plain!r}) must be one of {', '.join(PLAIN)}")
