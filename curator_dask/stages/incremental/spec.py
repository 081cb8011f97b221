"""What workers are told that look for new rows, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_dask.data.vector_source import Chunk, VectorSource
from curator_dask.files.folder import Folder


@dataclass(frozen=True)
class SiftTask:
    """Find the new rows of one chunk."""

    source: VectorSource
    chunk: Chunk
    output: Folder
    """Folder for copies of files without the rows that are known."""
    number: int
    """The chunk's number, which names its copies."""
    ids: Folder
    """Folder for the ids of the new rows, in buckets."""
    num_buckets: int


@dataclass(frozen=True)
class Sifted:
    """The new rows that a worker found in a chunk."""

    chunk: Chunk
    """The files that hold the new rows: files of the input, or copies in the task's output."""
    copied: bool
    """Whether `chunk` names copies."""
    num_new: int
    """Number of new rows."""
    num_known: int
    """Number of rows that were passed over because the finished run has their ids."""
    rejects: tuple[dict[str, Any], ...]
