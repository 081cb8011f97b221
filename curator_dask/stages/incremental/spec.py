"""The parts of an addition that travel: what its workers are told, and what they find among the new rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.vector_source import Chunk, VectorSource
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.ranking.strategy import RankingStrategy
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


@dataclass(frozen=True)
class ScoreNewTask:
    """Score the new rows of one cluster and decide on them."""

    cluster: int
    files: tuple[tuple[Folder, tuple[str, ...]], ...]
    """The cluster's files in each k-means output; the new rows' files come last."""
    duplicates: tuple[Folder, ...]
    """Outputs of the identify stage, which name the removed rows."""
    versions: tuple[str, ...]
    """Digest of the table in each of `duplicates`."""
    output: Folder
    table: str
    """Path in `output` of the decision table to write."""
    id_field: str
    embedding_field: str
    strategy: RankingStrategy
    clips: ClipIndex | None
    """The clip index, for columns to rank by that the clusters do not have."""
    rule: Rule
    tile_rows: int
    """Rows that are compared at a time."""
    device: str
