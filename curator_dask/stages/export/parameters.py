"""The parameters of the export stage that a whole run takes too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    metadata: str | None = None
    """A table of your own, a CSV or Parquet file or URL, whose rows are joined to the clips. Its columns go into the JSON of
    each sample as ``metadata``, and into columns ``metadata.NAME`` of ``index.parquet``. The output follows its content."""
    metadata_key: str | None = None
    """The column of `metadata` that names clips, by their ids, or videos, by their paths relative to the input folder, their
    full paths, or their file names. None: of the columns with a usual name (``clip_id``, ``path``, ``video``), the one that
    names most."""
    metadata_columns: str | Sequence[str] | None = None
    """The columns of `metadata` to carry, as a list or as one text with commas. None: all but the key and the caption."""
    caption_column: str | None = None
    """The column of `metadata` whose texts become the ``.txt`` member of each sample; empty where there is none."""
    shards: PlanParameters = field(default_factory=PlanParameters)
    """The order of the clips, the splits, and the limits of a shard."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ParameterError(f"format ({self.format!r}) must be one of {', '.join(FORMATS)}")
        if self.media not in MEDIA:
            raise ParameterError(f"media ({self.media!r}) must be one of {', '.join(MEDIA)}")
        if self.plain not in PLAIN:
            raise ParameterError(f"plain ({self.plain!r}) must be one of {', '.join(PLAIN)}")
        for name in ("metadata_key", "metadata_columns", "caption_column"):
            if self.metadata is None and getattr(self, name) is not None:
                raise ParameterError(
                    f"{name} ({getattr(self, name)!r}) says what is taken from a table: give metadata too"
                )

    def carried_columns(self) -> list[str] | None:
        """The names in `metadata_columns`; None: all but the key and the caption."""
        if self.metadata_columns is None:
            return None
        columns = self.metadata_columns
        return [name.strip() for name in columns.split(",")] if isinstance(columns, str) else list(columns)

    def metadata_identity(self) -> dict[str, Any]:
        """What of the table is a parameter; its content is an input of each shard."""
        chosen = {
            "metadata_key": self.metadata_key,
            "metadata_columns": self.carried_columns(),
            "caption_column": self.caption_column,
        }
        return {"metadata": True, **chosen} if self.metadata is not None else {}
