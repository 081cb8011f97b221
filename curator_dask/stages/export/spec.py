"""What a worker of the export stage is told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.files.folder import Folder


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """One shard to write, from the clips of `input`. Its samples stand in a file, which the worker reads."""

    input: Folder
    output: Folder
    split: str
    name: str
    num_bytes: int
    plan_path: str
    """A Parquet file in `output`: the records of the samples in their order, with `CONTENT_HASH` and `PREVIEW_BYTES`."""


@dataclass(frozen=True, slots=True)
class CopySpec:
    """One clip whose media is copied from `input` to the same path in `output`."""

    input: Folder
    output: Folder
    clip_id: str
    num_bytes: int
    content_hash: str = ""
    with_preview: bool = False
