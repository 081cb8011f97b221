"""Columns of the clip index for given ids: facts about clips that stages after k-means need beside their vectors."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import (
    clip_index_batches,
    clip_index_files,
    clip_index_schema,
    has_clip_index,
    schema,
)
from curator_dask.data.clusters import column_values, count_rows
from curator_dask.data.ids import id_text
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.buckets.lookup import RowLookup
from curator_dask.files.content_hash import NAMES_CONTENT
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted

if TYPE_CHECKING:
    import pyarrow as pa

DERIVED: Final = {"pixels": ("width", "height"), "duration_s": ("start_s", "end_s")}
"""Columns computed from two others: width × height, and end − start."""


_MAKING: Final = threading.Lock()


@dataclass(frozen=True)
class ClipIndex:
    """The clip index of a split output. It is sent to workers; each worker process reads it once, into a file of its own."""

    folder: Folder
    version: str
    """Digest of the content of the index."""

    @staticmethod
    def of(folder: Folder) -> ClipIndex:
        """The index in this folder. Raises InputError if there is none."""
        if not has_clip_index(folder):
            raise InputError(
                f"{folder.url} holds no {layout.CLIP_INDEX}: give the output of the split stage as clips_path"
            )
        return ClipIndex(folder, _digest(folder))

    def columns(self, ids: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """(N,) each, by name, in the order of `ids`. Raises InputError for ids that are not in the index."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(map(id_text, ids.tolist()), pa.string())
        found = _lookup(self, tuple(dict.fromkeys(names))).rows(wanted)
        place = pc.index_in(wanted, value_set=found["id"].combine_chunks())
        if place.null_count:
            missing = wanted.filter(place.is_null())
            raise InputError(
                f"{self.folder.join(layout.CLIP_INDEX)} lacks {counted(place.null_count, 'ids')}, for example "
                f"{missing[0].as_py()!r}: is clips_path the output that the vectors were made from?"
            )
        rows = found.take(place)
        return {name: column_values(rows, name) for name in names}


def _digest(folder: Folder) -> str:
    """That of ``clips.parquet``, as earlier versions made it; of a large index, that of its parts."""
    if folder.exists(layout.CLIP_INDEX):
        return folder.content_hash(layout.CLIP_INDEX, "sha256").removeprefix("sha256:")[:32]
    parts = "".join(folder.content_hash(path, NAMES_CONTENT) for path in clip_index_files(folder))
    return hashlib.sha256(parts.encode("ascii")).hexdigest()[:32]


def _lookup(index: ClipIndex, columns: tuple[str, ...]) -> RowLookup:
    with _MAKING:  # threads of a worker use one
        return _make_lookup(index, columns)


@functools.lru_cache(maxsize=2)
def _make_lookup(index: ClipIndex, columns: tuple[str, ...]) -> RowLookup:
    """On the local disk. A stage asks for columns to rank by, and perhaps for those of sources."""
    import pyarrow as pa

    names = list(dict.fromkeys(("id", *columns)))
    kind, files = clip_index_schema(index.folder), clip_index_files(index.folder)
    schema = pa.schema([kind.field(name) for name in names if name in kind.names])
    return RowLookup.of(clip_index_batches(index.folder, names), schema, count_rows(index.folder, files))


def stored_columns(names: Iterable[str], index: ClipIndex | None) -> list[str]:
    """The columns that the k-means output must hold to rank by `names`: all that the clip index does not have."""
    own = set(schema().names) if index is not None else set()
    return [name for name in _parts(names) if name not in own]


def ranking_columns(
    names: Sequence[str], table: pa.Table, ids: NDArray[Any], index: ClipIndex | None
) -> dict[str, NDArray[Any]]:
    """The columns to rank by, (N,) each, from the clip index if it has them, else from the table of a cluster.

    `table` has the columns `stored_columns(names, index)`, and its rows have the ids `ids`. `DERIVED` columns are computed.
    """
    stored = stored_columns(names, index)
    of_clips = [name for name in _parts(names) if name not in stored]
    values = {name: column_values(table, name) for name in stored}
    if index is not None and of_clips:
        values |= index.columns(ids, of_clips)
    return {name: _derive(name, values) if name in DERIVED else values[name] for name in names}


def _parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part for name in names for part in DERIVED.get(name, (name,))))


def _derive(name: str, values: dict[str, NDArray[Any]]) -> NDArray[Any]:
    a, b = (np.asarray(values[part], dtype=np.float64) for part in DERIVED[name])
    value: NDArray[Any] = a * b if name == "pixels" else b - a
    return value
