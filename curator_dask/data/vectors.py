"""Convert Arrow columns of vectors to matrices and back, without a copy if the data allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

GOOD, NULL, WRONG_DIMENSION = "", "null", "wrong-dimension"


def column_matrix(column: pa.ChunkedArray | pa.Array, dimension: int) -> tuple[NDArray[Any], NDArray[np.object_]]:
    """A column of vectors as a matrix.

    Args:
        column: lists, large lists or fixed-size lists of half, float or double, of n rows.
        dimension: D; rows of another length are bad.

    Returns:
        ``(X, reasons)``: (n, D) of the column's own float type, and (n,) strings, empty for a good row, else ``null``
        (no vector, or a null among its values) or ``wrong-dimension``; bad rows are zero. Without bad rows and with one
        chunk, X is a view of the column's buffer.

    Raises:
        InputError: the column does not hold vectors of floats.
    """
    parts = [_chunk_matrix(_vectors(chunk), dimension) for chunk in _chunks(column)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([X for X, _ in parts]), np.concatenate([reasons for _, reasons in parts])


def _chunk_matrix(array: Any, dimension: int) -> tuple[NDArray[Any], NDArray[np.object_]]:
    reasons = np.full(len(array), GOOD, dtype=object)
    lengths = _lengths(array)
    reasons[lengths != dimension] = WRONG_DIMENSION
    reasons[np.asarray(array.is_null())] = NULL
    values = array.flatten()
    if not np.any(reasons != GOOD) and values.null_count == 0:
        return values.to_numpy(zero_copy_only=False).reshape(len(array), dimension), reasons
    return _copy_good_rows(array, dimension, reasons), reasons


def vector_length(column: pa.ChunkedArray | pa.Array) -> int | None:
    """The most frequent length of the column's vectors (the shortest of equally frequent ones); None without any."""
    arrays = [_vectors(chunk) for chunk in _chunks(column)]
    lengths = np.concatenate([_lengths(array)[~np.asarray(array.is_null())] for array in arrays])
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return None
    found, counts = np.unique(lengths, return_counts=True)
    return int(found[np.argmax(counts)])


def matrix_column(X: NDArray[np.float32]) -> pa.ListArray:
    """(n, D) as ``list<float32>``, sharing the matrix's memory."""
    import pyarrow as pa

    if X.size > np.iinfo(np.int32).max:
        raise InputError(f"{X.shape[0]} vectors of {X.shape[1]} are too many for one Arrow column: write smaller parts")
    X = np.ascontiguousarray(X, dtype=np.float32)
    offsets = np.arange(0, X.size + 1, X.shape[1], dtype=np.int32) if len(X) else np.zeros(1, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, X.ravel())


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    """The column's arrays, at least one. One array of lists holds 2**31 values at most, and a file may have more."""
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return [column]
    return column.chunks if column.num_chunks else [pa.array([], column.type)]


def _vectors(array: pa.Array) -> Any:
    """The array as lists of floats. Raises InputError for other types."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):  # a fixed-shape tensor is stored as a fixed-size list
        array = array.storage
    kind = array.type
    if pa.types.is_null(kind):  # a file of nulls only, or an empty JSON file
        return array.cast(pa.list_(pa.float32()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list and pa.types.is_integer(kind.value_type):  # JSON lines write 1.0 as 1
        return array.cast(_with_values(kind, pa.float64()), safe=False)
    if is_list and pa.types.is_null(kind.value_type):
        return array.cast(_with_values(kind, pa.float32()))
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise InputError(f"the embedding column has type {kind}; it must hold lists of half, float or double")
    return array


def _with_values(kind: pa.DataType, value_type: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return pa.list_(value_type, kind.list_size)
    return pa.large_list(value_type) if pa.types.is_large_list(kind) else pa.list_(value_type)


def _lengths(array: Any) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64)


def _copy_good_rows(array: Any, dimension: int, reasons: NDArray[np.object_]) -> NDArray[Any]:
    """A matrix with zeros for bad rows; it also marks the rows with a null among their values, in `reasons`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type.value_type
    X = np.zeros((len(array), dimension), dtype=kind.to_pandas_dtype())
    chosen = np.flatnonzero(reasons == GOOD)
    if not len(chosen):
        return X
    values = array.take(pa.array(chosen)).flatten()
    holes = np.asarray(values.is_null()).reshape(len(chosen), dimension).any(axis=1)
    reasons[chosen[holes]] = NULL
    filled = pc.fill_null(values, pa.scalar(0.0, kind)).to_numpy(zero_copy_only=False)
    X[chosen] = filled.reshape(len(chosen), dimension)
    X[chosen[holes]] = 0
    return X
