"""Read vectors from Parquet to a device, by cuDF; `vectors` does the same on the host.

Nothing is copied: the matrix is a view of the column's leaves. A column that is not simply n vectors of one length
(nulls, ragged rows, half floats, more values than cuDF counts) is read on the host first, so its rows are rejected for
the same reasons as on a CPU. Ids and other columns are read on the host: they are text, and small.

This module writes no files. cuDF's files hold the same values as Arrow's in other bytes (pages, encodings, statistics),
but the files of this package are the same, byte for byte, on a CPU and on a GPU. Writing from the device would not save
a copy either: the rows of a cluster are gathered on the host, from the files of all chunks.

Written against RAPIDS 26.10. The calls are checked against its signatures (tests/rapids); what they do on a device is
checked by tests/gpu, where there is one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.tables import open_parquet, require_columns
from curator_dask.data.vectors import GOOD, column_matrix
from curator_dask.errors import DeviceError, InputError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

MAX_VALUES: Final = 2**31 - 1
"""cuDF counts the values of one list column in 32 bits: 1,398,101 rows of 1536."""


def read_matrix(
    folder: Folder, path: str, embedding_field: str, dimension: int, row_groups: Sequence[int] | None = None
) -> tuple[Any, NDArray[np.object_]]:
    """The vectors of a Parquet file, or of some of its row groups, on the device.

    Args:
        dimension: D; rows of another length are bad.

    Returns:
        ``(X, reasons)`` as `vectors.column_matrix` gives them, with X (n, D) a ``cupy.ndarray`` and the reasons on the
        host. Without bad rows X is a view of what cuDF read.

    Raises:
        InputError: the file is damaged, has no such column, or the column holds no vectors of floats.
        DeviceError: the device has too little memory for it.
    """
    with open_parquet(folder, path) as file:
        require_columns(path, file.schema_arrow.names, [embedding_field])
        num_rows = _num_rows(file.metadata, row_groups)
        on_device = _is_for_device(file.schema_arrow.field(embedding_field).type, num_rows * dimension)
        if not on_device or (row_groups is not None and not folder.is_local):  # fetch only that part
            table = _read_on_host(file, embedding_field, row_groups)
            return _upload(column_matrix(table[embedding_field], dimension))
    with _translate_errors(folder.join(path)):
        return series_matrix(_read_series(folder, path, embedding_field, row_groups), dimension)


def series_matrix(series: Any, dimension: int) -> tuple[Any, NDArray[np.object_]]:
    """A ``cudf.Series`` of lists of float or double as ``(X, reasons)``, see `read_matrix`."""
    num_rows = len(series)
    if _is_regular(series, num_rows, dimension):
        return series.list.leaves.values.reshape(num_rows, dimension), np.full(num_rows, GOOD, dtype=object)
    return _upload(column_matrix(series.to_arrow(), dimension))


def _is_regular(series: Any, num_rows: int, dimension: int) -> bool:
    """Whether the column is n vectors of D numbers, and nothing else."""
    if series.null_count or not num_rows:
        return False
    leaves = series.list.leaves
    if leaves.null_count or len(leaves) != num_rows * dimension:
        return False
    return bool((series.list.len() == dimension).all())


def _is_for_device(kind: pa.DataType, num_values: int) -> bool:
    """Whether cuDF reads such a column as it is: lists of float or double, of fewer values than it can count."""
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(
        is_list and num_values <= MAX_VALUES and kind.value_type in (pa.float32(), pa.float64())
    )  # an extension type (a tensor) is not one of these


def _num_rows(metadata: Any, row_groups: Sequence[int] | None) -> int:
    if row_groups is None:
        return int(metadata.num_rows)
    return sum(metadata.row_group(number).num_rows for number in row_groups)


def _read_on_host(file: Any, embedding_field: str, row_groups: Sequence[int] | None) -> pa.Table:
    if row_groups is None:
        return file.read(columns=[embedding_field])
    return file.read_row_groups(list(row_groups), columns=[embedding_field])


def _read_series(folder: Folder, path: str, embedding_field: str, row_groups: Sequence[int] | None) -> Any:
    import cudf

    groups = None if row_groups is None else [list(row_groups)]
    with folder.local_copy(path) as local:
        return cudf.read_parquet(str(local), columns=[embedding_field], row_groups=groups)[embedding_field]


def _upload(found: tuple[NDArray[Any], NDArray[np.object_]]) -> tuple[Any, NDArray[np.object_]]:
    import cupy

    X, reasons = found
    return cupy.asarray(X), reasons


@contextlib.contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    """Turn cuDF's errors into ours: a damaged file raises a plain RuntimeError, the driver raises subclasses of it."""
    try:
        yield
    except MemoryError as error:
        raise DeviceError(f"{printable(path)}: the GPU's memory does not take it ({error})") from error
    except RuntimeError as error:
        if type(error) is RuntimeError:
            raise InputError(f"{printable(path)}: cuDF cannot read it: {error}") from error
        raise DeviceError(f"{printable(path)}: the GPU fails: {error}") from error
