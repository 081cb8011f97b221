"""``.tmk`` files of ThreatExchange's TMK+PDQF as vectors: the mean descriptor of a video, whose cosines are level-1 scores.

Little-endian: the words ``TMK1``, ``FVEC``, ``PDQF``; five int32 (frames per second, number of periods P, number of
coefficients C, dimension D, number of frames); P int32; C float32; then D float32, the mean. The Fourier features of
level 2 follow and are not read.
"""

from __future__ import annotations

import struct
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"TMK1FVECPDQF"
_COUNTS = struct.Struct("<5i")
# No real file has counts this large: a forged header must not make us read for long.
_MOST = 1 << 16


def read_tmk_mean(data: bytes) -> NDArray[np.float32]:
    """(D,) float32, the mean of the frames' PDQF, from the first bytes of a file.

    Raises ValueError, which names the fault, for bytes of another kind or that end too early.
    """
    start = len(MAGIC) + _COUNTS.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise ValueError("it does not begin as a TMK file does")
    _, periods, coefficients, dimension, _ = _COUNTS.unpack_from(data, len(MAGIC))
    if min(periods, coefficients) < 0 or dimension < 1 or max(periods, coefficients, dimension) > _MOST:
        raise ValueError(f"its counts cannot be: {periods} periods, {coefficients} coefficients, {dimension} numbers")
    offset = start + 4 * (periods + coefficients)
    if len(data) < offset + 4 * dimension:
        raise ValueError("it ends within the mean")
    return np.frombuffer(data, "<f4", count=dimension, offset=offset).astype(np.float32)


def tmk_table(folder: Folder, path: str, id_field: str, embedding_field: str) -> pa.Table:
    """One row: the file's path without its ending, and its vector. Raises InputError for other files."""
    import pyarrow as pa

    with folder.open(path) as stream:
        data = stream.read(len(MAGIC) + _COUNTS.size + 3 * 4 * _MOST)
    try:
        mean = read_tmk_mean(data)
    except ValueError as error:
        raise InputError(f"cannot read {printable(folder.join(path))} as a TMK file: {error}") from error
    name = printable(str(PurePosixPath(path).with_suffix("")))
    return pa.table({id_field: [name], embedding_field: pa.array([mean], pa.list_(pa.float32()))})
