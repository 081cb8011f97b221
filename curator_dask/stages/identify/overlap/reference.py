"""Clips of another output, which stay as they are: what they show is removed from the clips to decide on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import read_id_list
from curator_dask.files.layout import CLIP_INDEX, DUPLICATES, REMOVE_LIST

if TYPE_CHECKING:
    import pyarrow as pa


def reference_ids(folder: Folder) -> pa.ChunkedArray:
    """The ids, as texts, of the clips of another output without those that it removed. Raises InputError if it has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = id_texts(plain_ids(read_parquet(folder, reference_index(folder), ["id"])["id"]))
    removed = folder.below(DUPLICATES)
    if not removed.exists(REMOVE_LIST):
        return ids
    gone = pa.array(read_id_list(removed.read_bytes(REMOVE_LIST)), pa.large_string())
    return ids.filter(pc.invert(pc.is_in(ids, value_set=gone)))


def reference_index(folder: Folder) -> str:
    """The path of the clip index in another output. Raises InputError if there is none."""
    if not folder.exists(CLIP_INDEX):
        raise InputError(f"{folder.url} holds no {CLIP_INDEX}: give the output of another run as against_path")
    return CLIP_INDEX
