"""The rows of a group's clusters, as the first pass wrote them down: what they are compared by, without their vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import VectorPlaces
from curator_dask.dedup.arrays.xp import Array
from curator_dask.dedup.cross_cluster.scores import ComparedRows, Indices
from curator_dask.runtime.device import to_device
from curator_dask.stages.cross_cluster.batch_files import Batches
from curator_dask.stages.cross_cluster.border_files import (
    ABOUT,
    AT,
    FILE,
    PLACE,
    SCORE,
    SOURCE,
    rows_path,
    sketches_of,
)
from curator_dask.stages.cross_cluster.fetch_vectors import Vectors
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ScoredRows:
    """N rows that are compared: with their places, scores and sketches; their vectors are fetched where they are needed.

    Attributes:
        columns: the ids, and what else ranks rows.
        source: (N,) int32, their clusters. places: (N,) int64, their places in the rankings of these.
        scores: (N,) float32, their scores within the clusters.
        sketches: (N, width) float32, on the device.
    """

    spec: CrossClusterSpec
    columns: pa.Table
    source: NDArray[np.int32]
    places: Indices
    scores: NDArray[np.float32]
    sketches: Array
    vectors: Vectors

    @staticmethod
    def of(spec: CrossClusterSpec, table: pa.Table, dim: int) -> ScoredRows:
        """From a table of at least one row, as a group wrote it."""
        source, places, scores, file, at = (
            table[name].to_numpy() for name in (SOURCE, PLACE, SCORE, FILE, AT)
        )  # fmt: skip
        vectors = Vectors(spec.input, spec.output, spec.groups.by_number, source, VectorPlaces(file, at), dim)
        sketches = to_device(sketches_of(table).astype(np.float32), spec.device)
        own = [name for name in table.column_names if not name.startswith("__")]
        return ScoredRows(spec, table.select(own), source, places, scores, sketches, vectors)

    def __len__(self) -> int:
        return len(self.source)

    def compared(self, some: Indices) -> ComparedRows:
        """Some of the rows, as a side of a comparison."""

        def fetch(chosen: Indices) -> Array:
            return to_device(self.vectors.fetch(some[chosen]), self.spec.device)

        sketches = self.sketches[to_device(some, self.spec.device)]
        return ComparedRows(len(some), self.vectors.dim, fetch, sketches, self.scores[some])


@dataclass(frozen=True)
class GroupMembers:
    """The clusters of a group, whose rows are read one cluster at a time.

    Attributes:
        widths: cluster → how many numbers of a sketch are compared with its members; 0 where whole rows are.
        dim: D, the numbers of a row.
    """

    spec: CrossClusterSpec
    batches: Batches
    numbers: Sequence[int]
    widths: dict[int, int]
    dim: int

    def read(self, cluster: int) -> ScoredRows:
        """The members of a cluster."""
        return ScoredRows.of(self.spec, self.batches.table(self.numbers.index(cluster)), self.dim)


def about_members(widths: NDArray[np.int64], dim: int) -> bytes:
    """What the readers of a group's rows have to know, from the widths of the sketches of its clusters."""
    return json.dumps({"dim": dim, "widths": np.where(widths < dim, widths, 0).tolist()}).encode()


def group_members(task: GroupTask) -> GroupMembers:
    numbers = [cluster.number for cluster in task.clusters]
    batches = Batches.of(task.spec.output, rows_path(task.group))
    about = json.loads(batches.schema.metadata[ABOUT])
    return GroupMembers(task.spec, batches, numbers, dict(zip(numbers, about["widths"], strict=True)), about["dim"])
