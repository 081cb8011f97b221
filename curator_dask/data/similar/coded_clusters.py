"""Beside the clusters, their vectors as one byte per number: a search maps them into memory and reads no Parquet for most rows.

The codes of a bucket of clusters are an Arrow file without compression, one record batch per cluster, with the rows in the
order of the cluster's Parquet file. Which clusters they are, the metadata of its schema says.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
from curator_dask.data.similar.cluster_rows import place_of
from curator_dask.dedup.similarity.codes import code_scores, to_codes
from curator_dask.files.layout import STATE, UNITS

if TYPE_CHECKING:
    import pyarrow as pa

CLUSTERS = b"clusters"
BUCKETS = f"{STATE}/kmeans/{UNITS}/*.arrow"
"""Where the k-means stage keeps the codes, below the folder of the clusters."""


class Scored(NamedTuple):
    """All rows of some clusters and about how similar they are to what is looked for."""

    cluster: NDArray[np.int64]
    row: NDArray[np.int64]
    score: NDArray[np.float32]
    step: NDArray[np.float32]


class _Parts(io.RawIOBase):
    """Keeps what is written, and copies nothing. Memory for a whole file would grow step by step, and be copied each time."""

    def __init__(self) -> None:
        self.parts: list[memoryview] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(memoryview(data).cast("B"))
        return len(self.parts[-1])


def coded_parts(clusters: Sequence[tuple[int, pa.RecordBatch]]) -> list[memoryview]:
    """The file of clusters, each with its number and its `coded_batch`, in parts. Codes are not copied: the batches keep them."""
    import pyarrow as pa

    numbers = json.dumps([int(number) for number, _ in clusters])
    sink = _Parts()
    with pa.ipc.new_file(sink, clusters[0][1].schema.with_metadata({CLUSTERS: numbers})) as writer:
        for _, batch in clusters:
            writer.write_batch(batch)
    return sink.parts


def coded_batch(ids: Any, X: NDArray[np.float32]) -> pa.RecordBatch:
    """The ids and the codes of a cluster with the vectors X (n, D)."""
    import pyarrow as pa

    codes, steps = to_codes(X)
    texts = id_texts(ids).combine_chunks()
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(X.shape[1]), len(X), [None, pa.py_buffer(codes)])
    return pa.record_batch({"id": texts, "code": packed, "step": pa.array(steps)})


class CodedClusters:
    """The codes of all clusters of an output, mapped into memory."""

    def __init__(self, batches: dict[int, pa.RecordBatch]) -> None:
        self._batches = batches

    @classmethod
    def of(cls, kmeans: Path) -> CodedClusters | None:
        """Those below this folder of clusters; None where some cluster has none, as in output of other programs."""
        import pyarrow as pa

        try:
            batches = {number: batch for path in sorted(kmeans.glob(BUCKETS)) for number, batch in _batches_of(path)}
        except (pa.ArrowException, OSError, ValueError):  # a damaged file, which verify reports
            return None
        found = {int(path.name.partition("=")[2]) for path in kmeans.glob("centroid=*")}
        return cls(batches) if batches and batches.keys() == found else None

    @property
    def clusters(self) -> Sequence[int]:
        return sorted(self._batches)

    def dimension(self) -> int:
        return int(next(iter(self._batches.values())).schema.field("code").type.byte_width)

    def find(self, clip_id: str) -> tuple[int, int] | None:
        """The cluster and the row of an id; None where it is not there."""
        for number, batch in self._batches.items():
            row = place_of(batch["id"], clip_id)
            if row >= 0:
                return number, row
        return None

    def score(self, number: int, wanted: NDArray[np.float32]) -> Scored:
        """All rows of a cluster."""
        column = self._batches[number]["step"]
        steps = np.frombuffer(column.buffers()[1], np.float32, len(column), 4 * column.offset)
        rows = np.arange(len(steps))
        return Scored(np.full(len(rows), number), rows, code_scores(self._codes(number), steps, wanted), steps)

    def vector(self, number: int, row: int) -> NDArray[np.float32]:
        """About the vector (D,) of a row."""
        step = np.float32(self._batches[number]["step"][row].as_py())
        found: NDArray[np.float32] = self._codes(number)[row] * step
        return found

    def _codes(self, number: int) -> NDArray[np.int8]:
        column = self._batches[number]["code"]
        D = column.type.byte_width
        return np.frombuffer(column.buffers()[1], np.int8, len(column) * D, column.offset * D).reshape(-1, D)


def _batches_of(path: Path) -> Iterable[tuple[int, pa.RecordBatch]]:
    import pyarrow as pa

    file = pa.ipc.open_file(pa.memory_map(str(path)))
    numbers = json.loads((file.schema.metadata or {}).get(CLUSTERS, b"[]"))
    return [(number, file.get_batch(at)) for at, number in enumerate(numbers)]
