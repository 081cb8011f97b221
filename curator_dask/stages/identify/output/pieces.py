"""What each part gives to the tables and lists of all clips: pieces, one for each of these files.

A worker cuts them from the rows of the part when it writes the part, so the part need not be read again. They lie in one
file per part, for this run only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.tables import read_parquet
from curator_dask.files.buckets.shared import shared_batches, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.output.single_files import COLUMNS, pieces_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Pieces:
    """The file with the pieces of one part."""

    folder: Folder
    path: str
    names: tuple[str, ...]
    """The files that they are for. Without ``groups.parquet``, the part need not have the columns of groups."""

    def write(self, part: pa.Table) -> None:
        """Cut the pieces from the rows of the part."""
        import pyarrow as pa

        pieces = pa.table({"piece": pa.array(pieces_of(part, self.names), pa.large_binary())})
        codec = None if self.folder.is_local else "lz4"  # on a disk they hardly ever leave the memory of the system
        write_shared(self.folder, self.path, pieces, np.arange(len(self.names)), len(self.names), codec=codec)


@dataclass(frozen=True)
class CutTask:
    """Cut the pieces of a part that is there already."""

    parts: Folder
    path: str
    pieces: Pieces


def cut_pieces(task: CutTask) -> None:
    """Read a part, and write its pieces."""
    columns = dict.fromkeys(column for name in task.pieces.names for column in COLUMNS[name])
    task.pieces.write(read_parquet(task.parts, task.path, list(columns)))


def read_pieces(parts: Sequence[Pieces], name: str) -> list[pa.Buffer]:
    """The pieces of all parts for one file, in the order of the parts."""
    number = parts[0].names.index(name)
    batches = shared_batches(parts[0].folder, [one.path for one in parts], number)
    return [batch["piece"][0].as_buffer() for batch in batches]
