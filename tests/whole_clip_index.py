"""The clip index as one table, for tests; the package reads it in batches."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curator_dask.data.clip_index import clip_index_batches, clip_index_schema
from curator_dask.files.folder import Folder


def read_clip_index(folder: Folder, columns: Sequence[str] | None = None) -> pa.Table:
    kind = clip_index_schema(folder)
    batches = list(clip_index_batches(folder, columns))
    wanted = kind if columns is None else pa.schema([kind.field(name) for name in columns if name in kind.names])
    return pa.concat_tables([wanted.empty_table(), *batches])
