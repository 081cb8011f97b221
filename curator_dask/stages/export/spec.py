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
    """Some clips whose media is copied from `input` to the same paths in `output`. They stand in a file for the worker."""

    input: Folder
    output: Folder
    plan_path: str
    """A file in `output`, as `write_copies` writes it."""
    number: int
    """The number of the group of this file that has the clips."""
    with_previews: bool
    """Their previews are copied too."""
