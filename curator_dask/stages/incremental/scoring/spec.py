"""What a worker is told that scores the new rows of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder


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
