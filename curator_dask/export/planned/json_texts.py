"""The JSON of many clips at once, column by column: what is digested, and how long what is written will be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.export.planned.columns import CAPTION, HAS_ROW, QUALITY
from curator_dask.export.samples import CLIP_SCHEMA, METADATA

if TYPE_CHECKING:
    import pyarrow as pa

_NEEDS_ESCAPES: Final = r"[^ !#-\[\]-~]"
"""A character that does not stand for itself in a JSON text of ASCII characters."""
_NOTHING_CARRIED: Final = "{}"


def inputs_and_sizes(table: pa.Table) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    """For each clip of a table of records: `record_inputs` as the JSON that is digested, and (n,) the bytes of `clip_json_bytes`.

    Both have the same fields in another order, so the length follows from the lengths of the values.
    """
    own = {name: json_texts(table[name]) for name in CLIP_SCHEMA}
    quality = {name: json_texts(table[name]) for name in QUALITY if name in table.column_names}
    sizes = _sizes_of_members({**own, **quality})
    inputs = {**own, **({"quality": _objects(quality)} if quality else {})}
    if METADATA in table.column_names:
        told = {"fields": table[METADATA], CAPTION: table[CAPTION], HAS_ROW: table[HAS_ROW]}
        inputs[METADATA] = _objects({name: json_texts(column) for name, column in told.items()})
        sizes = sizes + _sizes_of_carried(table[METADATA])
    return _objects(inputs), sizes


def json_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value of a column of text, numbers or truths as `json.dumps` writes it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        texts = pc.cast(column, pa.string())
    elif pa.types.is_floating(column.type):
        texts = _float_texts(column)
    else:
        texts = _string_texts(column)
    return pc.fill_null(texts, "null")


def _float_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The shortest text of each number, as Python writes it. Many clips share a frame rate, so each number is written once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    bits = column.view(pa.int64()).dictionary_encode()  # by their bits: 0.0 and -0.0 are two texts
    values = bits.dictionary.view(pa.float64()).to_pylist()
    all_finite = pc.all(pc.is_finite(column)).as_py() is not False
    texts = pa.array(map(repr if all_finite else json.dumps, values), pa.string())
    return texts.take(bits.indices)


def _string_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(column, _NEEDS_ESCAPES)).as_py():
        texts = (None if text is None else encode_basestring_ascii(text) for text in column.to_pylist())
        return pa.array(texts, pa.large_string())
    return _joined(['"', column, '"'])


def _objects(members: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """JSON objects with their members in the order of their names, as `digest` takes them."""
    pieces: list[Any] = []
    for name, texts in sorted(members.items()):
        pieces += [f'{", " if pieces else "{"}"{name}": ', texts]
    return _joined([*pieces, "}"])


def _joined(pieces: Sequence[Any]) -> Any:
    """Columns of text and single texts, put together row by row. Offsets have 64 bits, as what a table carries may be long."""
    import pyarrow as pa
    import pyarrow.compute as pc

    large = pa.large_string()
    told = [pa.scalar(piece, large) if isinstance(piece, str) else piece.cast(large) for piece in pieces]
    return pc.binary_join_element_wise(*told, pa.scalar("", large))


def _sizes_of_members(members: Mapping[str, pa.ChunkedArray]) -> NDArray[np.int64]:
    """(n,) bytes of objects. Each member takes ``, "name": value``; the first has no comma, and there are two braces."""
    each = [len(f', "{name}": ') + _lengths(texts) for name, texts in members.items()]
    total: NDArray[np.int64] = np.sum(each, axis=0, dtype=np.int64)
    return total


def _sizes_of_carried(fields: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) bytes that the columns of a user's table add to an object that has members already; no column, no member."""
    lengths = _lengths(fields)
    added: NDArray[np.int64] = np.where(lengths == len(_NOTHING_CARRIED), 0, lengths + len(f', "{METADATA}": '))
    return added


def _lengths(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    lengths: NDArray[np.int64] = pc.binary_length(texts).to_numpy().astype(np.int64)
    return lengths
