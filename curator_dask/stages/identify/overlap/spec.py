"""What a worker is told to do for the rule ``overlap``."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder


@dataclass(frozen=True)
class RankedRowsTask:
    """List the rows of one cluster with the columns that rank them."""

    cluster: ClusterInput
    strategy: RankingStrategy
    index: ClipIndex | None
    """Where columns are looked for before those of the k-means output."""
    output: Folder
    table: str
    """Path in `output` of the table to write."""
