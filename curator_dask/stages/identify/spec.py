"""What a worker is told to do, per kind of task of the identify stage."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.data.scored_clusters import ClusterInput, RowSources
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.across.taken_of_cluster import TakenOfCluster
from curator_dask.stages.identify.decisions.dropped import DroppedRows


@dataclass(frozen=True)
class ScopedScoresTask:
    """Score one cluster over the pairs in scope, without dropped clips."""

    cluster: ClusterInput
    output: Folder
    scope: str
    sources: RowSources | None
    """None where all pairs count."""
    device: str
    dropped: DroppedRows | None = None


@dataclass(frozen=True)
class DecideTask:
    """Decide on the rows of one cluster."""

    cluster: ClusterInput
    rule: Rule
    sources: RowSources | None
    """None where all pairs count."""
    output: Folder
    table: str
    """Path in `output` of the decision table to write."""
    device: str
    taken: TakenOfCluster | None = None
    """The rows that are removed already by the greedy rule, by kept rows of other clusters; None: this is not looked for."""
    named_later: bool = False
    """Whether rows that are removed for rows of other clusters get their kept rows when all decisions are joined."""


@dataclass(frozen=True)
class RecallSearch:
    """Compare a sample of rows with all rows."""

    num_rows: int
    """Rows of the sample."""
    eps: float
    scope: str
    sources: RowSources | None
    """None where all pairs count."""
    device: str
