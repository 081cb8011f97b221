"""Clips whose media is copied together: groups by the places of the clips, and the file that tells a worker which they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.export.planned.columns import CONTENT_HASH
from curator_dask.export.planned.ordering import PLACE
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

COPIED: Final = ("id", "num_bytes", CONTENT_HASH)
"""What a worker needs to know of a clip; the last one where it is known."""


def groups_of(clips: pa.Table, num_groups: int) -> NDArray[np.int64]:
    """(n,) the number of the group of each clip, of a power of two."""
    return bucket_of(clips[PLACE].to_numpy(), num_groups)


def write_copies(folder: Folder, path: str, clips: pa.Table, numbers: NDArray[np.int64], num_groups: int) -> None:
    """Write one file with the clips of some groups, which are numbered from 0."""
    rows = clips.select([name for name in COPIED if name in clips.column_names])
    write_shared(folder, path, rows, numbers, num_groups)


def read_copies(folder: Folder, path: str, number: int) -> list[dict[str, Any]]:
    """The clips of one group of such a file, as `COPIED` names their fields."""
    found = read_shared(folder, [path], number)
    clips: list[dict[str, Any]] = [] if found is None else found.to_pylist()
    return clips
