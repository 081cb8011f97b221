"""What a worker of the pairwise stage is told, per kind of task."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder

PAIRWISE = "pairwise"


@dataclass(frozen=True)
class PairwiseSpec:
    """What all tasks of a run have in common."""

    input: Folder
    """The output of the k-means stage."""
    output: Folder
    id_field: str
    embedding_field: str
    embedding_dim: int | None
    """The expected number of dimensions; None: any."""
    strategy: RankingStrategy
    index: ClipIndex | None
    """The clip index whose columns can rank; None where the ranking needs none."""
    tile_rows: int
    device: str
    scratch: tuple[str, ...]
    """Folder below `output` for temporary files on the worker."""


@dataclass(frozen=True, kw_only=True)
class ClusterTask:
    """Score one whole cluster and write its table."""

    spec: PairwiseSpec
    cluster: int
    paths: tuple[str, ...]
    """The cluster's files in the k-means output."""
    near_list: str
    """Path in the output of the Arrow file with its near pairs, which lies beside the marker of the cluster's unit."""
    files: str = ""
    """Digest of the versions of these files."""
    num_bytes: int = 0
    """Bytes of these files."""
    num_rows: int = 0
    """Rows of the cluster, as many as the files say if they are many, else about so many; 0 where they cannot be read."""

    def __str__(self) -> str:
        return f"cluster {self.cluster}"

    def part(self, run: slice, scores: str) -> PartTask:
        return PartTask(**_fields(self), run=run, scores=scores)

    def join(self, parts: tuple[str, ...]) -> JoinTask:
        return JoinTask(**_fields(self), parts=parts)


def _fields(task: ClusterTask) -> dict[str, Any]:
    return {one.name: getattr(task, one.name) for one in fields(task)}


@dataclass(frozen=True, kw_only=True)
class PartTask(ClusterTask):
    """Score a part of a large cluster: some rows of its ranking against all rows before them."""

    run: slice
    """The part, places ``[start, stop)`` of the ranking."""
    scores: str
    """Path in the output of the Arrow file to write."""

    def __str__(self) -> str:
        return f"cluster {self.cluster}, rows {self.run.start} to {self.run.stop} of its ranking"


@dataclass(frozen=True, kw_only=True)
class JoinTask(ClusterTask):
    """Write the table of a large cluster from the scores of its parts."""

    parts: tuple[str, ...]
    """Paths in the output of the parts' Arrow files, in ranked order."""
