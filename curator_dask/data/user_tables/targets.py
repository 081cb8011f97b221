"""Which clips and videos the cells of a table name, bucket by bucket: a name meets the cells that may stand for it.

What a cell names is a *target*: a clip, or a video with all of its clips. It stands here as 16 bytes, see `keys_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.user_tables.names import Names, meeting_texts, video_names
from curator_dask.files.buckets.meeting import gather, read_bucket
from curator_dask.files.buckets.places import keys_of

if TYPE_CHECKING:
    import pyarrow as pa

CLIP, VIDEO = "clip", "video"


@dataclass(frozen=True)
class ClipNames:
    """All clips of an output and their videos, and which of these clips are wanted. Each gives the tables again when called.

    The tables have the texts ``id``, ``relative_path`` and ``source_video``.
    """

    every: Callable[[], Iterable[pa.Table]]
    wanted: Callable[[], Iterable[pa.Table]]
    num_clips: int

    def targets(self, kind: str) -> Iterator[pa.Table]:
        """``id`` of each wanted clip, and its ``target`` where cells name clips, or videos."""
        import pyarrow as pa

        for clips in self.wanted():
            yield pa.table({"id": clips["id"].cast(pa.large_string()), "target": binary(targets_of(clips, kind))})


def targets_of(clips: pa.Table, kind: str) -> NDArray[np.bytes_]:
    """(n,) S16 the target of each clip: the clip itself, or its video."""
    import pyarrow.compute as pc

    if kind == CLIP:
        return keys_of(clips["id"])
    return keys_of(pc.binary_join_element_wise(clips["relative_path"], clips["source_video"], "\0"))


def binary(keys: NDArray[np.bytes_]) -> Any:
    """Keys as a column."""
    import pyarrow as pa

    return pa.array(keys, pa.binary(16))


class Targets:
    """All names of clips, or of videos, in buckets by `meeting_texts`."""

    def __init__(self, kind: str, clips: ClipNames, folder: Path, num_buckets: int) -> None:
        rows = map(_clip_rows if kind == CLIP else _video_rows, clips.every())
        self.kind, self._rows = kind, gather(rows, folder, num_buckets, by=lambda table: meeting_texts(table["name"]))

    def bucket(self, number: int) -> _Bucket:
        """The names of one bucket."""
        return _Bucket.of(read_bucket(self._rows, number))

    def remove(self) -> None:
        """Remove the files."""
        if self._rows is not None:
            self._rows.remove()


@dataclass(frozen=True)
class _Bucket:
    names: Names
    targets: Any
    """The target of each number."""

    @staticmethod
    def of(rows: pa.Table | None) -> _Bucket:
        import pyarrow as pa

        if rows is None:
            return _Bucket(Names.of_videos(()), pa.array([], pa.binary(16)))
        targets = rows["target"].combine_chunks().dictionary_encode()
        numbers, is_path = targets.indices.to_numpy(), rows["is_path"].to_numpy(zero_copy_only=False)
        names = Names.of_rows(rows["name"].combine_chunks(), numbers.astype(np.int64), is_path)
        return _Bucket(names, targets.dictionary)

    def find(self, cells: Any) -> NDArray[np.int64]:
        """(n,) the number of the target that each cell names, `UNKNOWN` or `AMBIGUOUS`."""
        return self.names.find(cells)


def _clip_rows(clips: pa.Table) -> pa.Table:
    import pyarrow as pa

    is_path = pa.array(np.ones(len(clips), bool))
    return _names(clips["id"], binary(targets_of(clips, CLIP)), is_path)


def _video_rows(clips: pa.Table) -> pa.Table:
    """The names of the videos of some clips, those of each video once."""
    import pyarrow as pa

    keys = targets_of(clips, VIDEO)
    unique, first = np.unique(keys, return_index=True)
    videos = clips.select(["relative_path", "source_video"]).take(pa.array(first))
    rows = [
        (name, number, is_path)
        for number, one in enumerate(zip(*(column.to_pylist() for column in videos.columns), strict=True))
        for name, is_path in video_names(*one)
    ]
    names, numbers, is_path = zip(*rows, strict=True) if rows else ((), (), ())
    return _names(pa.array(names, pa.string()), binary(unique).take(pa.array(numbers, pa.int64())), pa.array(is_path))


def _names(names: Any, targets: Any, is_path: Any) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([("name", pa.string()), ("target", pa.binary(16)), ("is_path", pa.bool_())])
    return pa.table([names.cast(pa.string()), targets, is_path.cast(pa.bool_())], schema=schema)
