"""Columns of a table as they are carried into JSON: numbers stay numbers, dates become ISO texts, nulls stay nulls.

===========================================  ==========================
type of the column                           kind in JSON
===========================================  ==========================
``bool``                                     ``bool``
integers                                     ``int``
``float``, ``double``, ``decimal``           ``float``; NaN and infinity are null
text, dates, times, timestamps               ``str``; ``2026-01-31``, ``2026-01-31T12:00:00``, UTC ends in ``Z``
lists of these                               ``list[int]`` and the like
===========================================  ==========================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curator_dask.errors import InputError
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("bool", "int", "float", "str")


def kind_of(name: str, kind: pa.DataType) -> str:
    """The kind in JSON of a column of this type. Raises InputError for bytes, structs and other types."""
    import pyarrow as pa

    if _is_list(kind) and not _is_list(kind.value_type):
        return f"list[{kind_of(name, kind.value_type)}]"
    is_kind = {
        "bool": (pa.types.is_boolean,),
        "int": (pa.types.is_integer,),
        "float": (pa.types.is_floating, pa.types.is_decimal),
        "str": (pa.types.is_string, pa.types.is_large_string, pa.types.is_temporal, pa.types.is_null),
    }
    found = next((one for one in KINDS if any(test(kind) for test in is_kind[one])), None)
    if found is None or pa.types.is_duration(kind) or pa.types.is_interval(kind):
        raise InputError(
            f"column {printable(name)!r} is of type {kind}, which cannot be carried: it must hold numbers, texts, dates, "
            "truth values, or lists of these. Name the columns to carry with metadata_columns"
        )
    return found


def arrow_type(kind: str) -> pa.DataType:
    """The type of a column of carried values."""
    import pyarrow as pa

    if kind.startswith("list["):
        return pa.list_(arrow_type(kind[5:-1]))
    return {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}[kind]


def carried_values(name: str, values: Any) -> Any:
    """A column as values of its kind. Raises InputError for whole numbers that no int64 holds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_list(values.type):
        return _carried_lists(name, values)
    kind = kind_of(name, values.type)
    try:
        if pa.types.is_timestamp(values.type):
            return _iso(values)
        plain = values.cast(arrow_type(kind))
    except pa.ArrowInvalid as error:
        raise InputError(f"column {printable(name)!r} holds a value that cannot be carried: {error}") from error
    return pc.if_else(pc.is_finite(plain), plain, None) if kind == "float" else plain


def _carried_lists(name: str, values: Any) -> Any:
    import pyarrow as pa

    parts = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    kind = arrow_type(kind_of(name, values.type))
    return pa.chunked_array([_one_chunk(name, part.cast(pa.list_(part.type.value_type))) for part in parts], kind)


def _one_chunk(name: str, part: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    lists = part.take(pa.array(np.arange(len(part))))  # a slice would still hold the values of all rows
    inner = carried_values(name, lists.values)
    whole = inner.combine_chunks() if isinstance(inner, pa.ChunkedArray) else inner
    return pa.ListArray.from_arrays(lists.offsets, whole, mask=lists.is_null())


def _iso(values: Any) -> Any:
    """Points in time as texts; those of a time zone as UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unit, zone = values.type.unit, values.type.tz
    plain = values.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit)) if zone else values
    texts = pc.strftime(plain, format="%Y-%m-%dT%H:%M:%S")
    for zeros, left in ((r"(\.[0-9]*[1-9])0+$", r"\1"), (r"\.0+$", "")):
        texts = pc.replace_substring_regex(texts, zeros, left)
    return pc.binary_join_element_wise(texts, "Z", "") if zone else texts


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
