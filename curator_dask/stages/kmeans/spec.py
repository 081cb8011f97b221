"""The parts of a k-means run that travel: what its workers are told, and the rows that they hold during the fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.vector_source import Chunk, Rows, VectorSource
from curator_dask.dedup.arrays.some import Some
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.kmeans.parameters import KMeansParameters


@dataclass(frozen=True)
class FitSpec:
    """A fit: which vectors, how, and on which device."""

    source: VectorSource
    """The vectors and their columns; the dimension is known."""
    parameters: KMeansParameters
    device: str
    verbose: bool = False
    """Report the inertia of every iteration."""
    in_host_memory: bool = False
    """On GPUs: leave the vectors in host memory during the fit."""

    @property
    def dimension(self) -> int:
        return self.source.known_dimension


@dataclass(frozen=True)
class KeptRows(Rows):
    """The good rows of a chunk that a worker keeps until they are assigned, with the hashes of their ids."""

    priority: NDArray[np.uint64]
    """(n,)"""

    def __sizeof__(self) -> int:
        return int(super().__sizeof__() + self.priority.nbytes)


@dataclass(frozen=True)
class Census:
    """The facts of a chunk that the client needs."""

    num_rows: int
    level_rows: tuple[int, ...]
    """The rows of each level of the fit, or of its only one; a level has those of the levels before it too."""
    level_sq_norms: tuple[float, ...]
    rejects: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class FitRows:
    """The rows of one chunk that a worker holds during the fit."""

    X: Any
    """(m, D) float32 unit rows, in host memory: all good rows of the chunk where they are kept anyway, else the sample's."""
    places: NDArray[np.int64] | None
    """(n,) the rows of X that the fit's sample has; None: all."""
    priority: NDArray[np.uint64]
    """(n,) hashes of the ids of these rows; in order where the sample has levels, so that each level is a beginning."""
    all_priority: NDArray[np.uint64]
    """Hashes of the ids of all good rows, for finding doubled ids."""
    sq_norms: NDArray[np.float64]
    """(n,) the `sq_norms_of` the same rows."""
    rejects: tuple[dict[str, Any], ...]

    def __sizeof__(self) -> int:
        """Dask moves small results to idle workers, and by default it takes an object of ours for one."""
        is_whole = len(self.X) == len(self.all_priority) and self.X.base is not None
        own = 0 if is_whole else self.X.nbytes  # all rows of a chunk are those that are kept anyway
        return int(own + self.priority.nbytes + self.all_priority.nbytes + self.sq_norms.nbytes)

    def some(self, which: Any) -> Some:
        """Some of the sample's rows, by a slice of them or their numbers."""
        return Some(self.X[which]) if self.places is None else Some(self.X, self.places[which])

    def matrix(self) -> NDArray[np.float32]:
        """(n, D), the sample's rows."""
        return np.asarray(self.some(slice(None))[:])

    def num_below(self, share: float) -> int:
        """How many of the rows belong to the level that takes this share of all rows."""
        return len(self.priority) if share >= 1 else int(np.searchsorted(self.priority, priority_limit(share)))

    def census(self, levels: tuple[float, ...]) -> Census:
        """The facts of these rows, for a fit with these levels."""
        numbers = tuple(self.num_below(share) for share in levels)
        sq_norms = tuple(float(self.sq_norms[:number].sum()) for number in numbers)
        return Census(len(self.all_priority), numbers, sq_norms, self.rejects)


def priority_limit(share: float) -> np.uint64:
    """The rows whose hash is below this are a `share` (below 1) of all rows."""
    return np.uint64(int(share * 2.0**64))


@dataclass(frozen=True)
class WriteClustersSpec:
    """The second half of k-means: assign rows to centroids and write the files of their clusters."""

    source: VectorSource
    """The vectors and their columns; the dimension is known."""
    output: Folder
    """Holds the centroids, and receives the clusters."""
    state: StageState
    """The stage's state; its folder holds the bucket files until the clusters are written."""
    n_buckets: int
    max_rows: int
    """At most this many rows have their distances to all centroids in memory at a time."""
    device: str
    looked_at: int | None = None
    """Compare a row with the centroids of this many groups; None: with all centroids."""


@dataclass(frozen=True)
class AssignTask:
    """Label the rows of one chunk, and sort them into buckets."""

    spec: WriteClustersSpec
    number: int
    """The chunk's number, which names its bucket file."""
    chunk: Chunk


@dataclass(frozen=True)
class BucketTask:
    """Write the clusters of one bucket."""

    spec: WriteClustersSpec
    number: int
    """The bucket's number: it holds the clusters c with c % n_buckets == number."""
    codes_path: str
    """Where the codes of its vectors go, for `similar`."""
    chunks: tuple[int, ...] = ()
    """The numbers of the chunks, each of which has files of buckets."""
