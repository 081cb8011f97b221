"""Write columns of plain vectors into Parquet files without a look at each number: the mirror of `vector_pages`.

A Parquet writer takes the levels of every number through its encoder, half a billion for a million vectors of 512 numbers.
Where all vectors have one length, nothing is null and the column is not compressed, the levels are a pattern that repeats,
and the numbers lie in the file as they lie in memory. So Arrow writes the file with vectors of one number each; then the
pages of the real ones take the place of these, and the description at the end of the file is corrected.

The file is byte for byte the one that Arrow 26 would write itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from curator_dask.data.pages.thrift import INT, Field, Struct, read_struct, struct_bytes, varint_bytes

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_DIMENSION = 16
"""The levels of shorter vectors have a pattern of their own; these are left to Arrow."""
PAGE_NUMBERS = 1 << 18
"""A page ends as soon as it has so many numbers: 1 MiB."""
BATCH_NUMBERS = 1024
"""Arrow writes whole vectors of at least so many numbers together at a time."""

Buffer = bytes | memoryview


@dataclass(frozen=True)
class Vectors:
    """A column of plain vectors."""

    parts: Sequence[NDArray[np.float32]]
    """(n, D) each, none empty."""
    highest: int
    """The level that says of a number that it is there."""

    @property
    def dimension(self) -> int:
        return int(self.parts[0].shape[1])

    def rows(self, start: int, stop: int) -> Vectors:
        """Those from row `start` to before row `stop`."""
        firsts = np.cumsum([0, *map(len, self.parts)]).tolist()
        found = [
            part[max(0, start - first) : max(0, stop - first)]
            for part, first in zip(self.parts, firsts[:-1], strict=True)
        ]
        return Vectors([part for part in found if len(part)], self.highest)


def plain_vectors(field: pa.Field, column: pa.ChunkedArray) -> Vectors | None:
    """The vectors of a column; None unless they are float32, all of one length of at least 16, and nothing is null."""
    import pyarrow as pa

    if not pa.types.is_list(field.type) or field.type.value_type != pa.float32():
        return None
    parts = [_matrix(chunk) for chunk in column.chunks if len(chunk)]
    found = [part for part in parts if part is not None]
    dimensions = {part.shape[1] for part in found}
    if len(found) < len(parts) or len(dimensions) != 1 or min(dimensions) < LEAST_DIMENSION:
        return None
    return Vectors(found, 1 + field.nullable + field.type.value_field.nullable)


def _matrix(array: Any) -> NDArray[np.float32] | None:
    """(n, D), a view of an array of n lists; None where they are not all of one length, or something is null."""
    offsets = array.offsets.to_numpy()
    dimension = offsets[1] - offsets[0]
    if array.null_count or array.values.null_count or not (np.diff(offsets) == dimension).all():
        return None
    numbers: NDArray[np.float32] = array.values.to_numpy()[offsets[0] : offsets[-1]]
    return numbers.reshape(len(array), dimension)


def parquet_with_vectors(
    table: pa.Table, columns: Mapping[str, Vectors], write: Callable[[pa.Table], Buffer]
) -> list[Buffer]:
    """The parts of a Parquet file, in their order; the numbers are views of the columns.

    Args:
        table: what to write.
        columns: those of its columns that are plain vectors, by name.
        write: makes a Parquet file of a table, with these columns neither compressed nor with dictionaries.
    """
    if not columns:
        return [write(table)]
    for name in columns:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), _stand_in(table.schema.field(at).type, len(table)))
    return _Splice(memoryview(write(table)), columns).parts()


def _stand_in(kind: pa.DataType, num_rows: int) -> pa.Array:
    """Vectors of one number each."""
    import pyarrow as pa

    offsets = pa.array(np.arange(num_rows + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.zeros(num_rows, np.float32)), type=kind)


class _Splice:
    """The change of a file whose vectors have one number each into the one with the real vectors.

    The numbers of fields are those of parquet.thrift.
    """

    def __init__(self, data: memoryview, columns: Mapping[str, Vectors]) -> None:
        self._data, self._columns = data, columns
        self._taken = 0  # so many bytes of the file have their place already
        self._longer = 0  # so many bytes the new file is longer up to there
        self._parts: list[Buffer] = []

    def parts(self) -> list[Buffer]:
        end = len(self._data) - 8
        start = end - int.from_bytes(self._data[end : end + 4], "little")
        footer, _ = read_struct(self._data, start)
        row = 0
        for group in footer[4].value.values:
            self._splice_group(group, row)
            row += group[3].value
        footer_bytes = struct_bytes(footer)
        rest = footer_bytes + len(footer_bytes).to_bytes(4, "little") + bytes(self._data[end + 4 :])
        return [*self._parts, self._data[self._taken : start], rest]

    def _splice_group(self, group: Struct, row: int) -> None:
        before = self._longer
        _move(group, 5, before)
        for chunk in group[1].value.values:
            self._splice_chunk(chunk, row, row + group[3].value)
        for size in (2, 6):
            _move(group, size, self._longer - before)

    def _splice_chunk(self, chunk: Struct, row: int, stop: int) -> None:
        about: Struct = chunk[3].value
        vectors = self._columns.get(about[3].value.values[0].decode())
        start, num_bytes = about[9].value, about[7].value
        for offset in (9, 10, 11):
            _move(about, offset, self._longer)
        if vectors is None:
            return
        header, _ = read_struct(self._data, start)
        pages = [_page(header, page) for page in _cut(vectors.rows(row, stop))]
        new = [part for page in pages for part in page]
        self._parts += [self._data[self._taken : start], *new]
        self._taken = start + num_bytes
        self._longer += sum(map(len, new)) - num_bytes
        _describe(about, stop - row, (stop - row) * vectors.dimension, sum(map(len, new)), len(pages))


def _move(struct: Struct, number: int, step: int) -> None:
    """Add to an integer that need not be there; an offset of 0 means that nothing is said."""
    if number in struct and struct[number].value:
        struct[number].value += step


def _describe(about: Struct, num_rows: int, num_values: int, num_bytes: int, num_pages: int) -> None:
    """Correct what a file says of a chunk of vectors, in the parts that this version of Arrow writes."""
    about[5].value = num_values
    about[6].value = about[7].value = num_bytes
    if 13 in about:
        about[13].value.values[0][3].value = num_pages
    if 16 in about:
        sizes: Struct = about[16].value
        sizes[2].value.values[:] = [num_rows, num_values - num_rows]
        sizes[3].value.values[-1] = num_values


def _cut(vectors: Vectors) -> Iterator[Vectors]:
    """The vectors of each page."""
    page: list[NDArray[np.float32]] = []
    for part in vectors.parts:
        at = 0
        while end := _end_of_page(part, at, PAGE_NUMBERS - sum(one.size for one in page)):
            yield Vectors([*page, part[at:end]], vectors.highest)
            page, at = [], end
        if at < len(part):
            page.append(part[at:])
    if page:
        yield Vectors(page, vectors.highest)


def _end_of_page(part: NDArray[np.float32], at: int, left: int) -> int | None:
    """The row before which a page ends that still takes numbers `left` from row `at` on; None if the array ends first.

    Arrow looks whether a page is full behind each batch, which is a few whole vectors, and before and behind the last vector
    of an array.
    """
    dimension = int(part.shape[1])
    batch = -(-BATCH_NUMBERS // dimension)
    full = at - (-left // dimension)
    if full > len(part):
        return None
    return full if full >= len(part) - 1 else min(-(-full // batch) * batch, len(part) - 1)


def _page(like: Struct, vectors: Vectors) -> list[Buffer]:
    """A page with a header like another one's: the header and the levels, then the numbers."""
    num_rows, views = sum(map(len, vectors.parts)), [part.reshape(-1).view(np.uint8).data for part in vectors.parts]
    levels = _levels(num_rows, vectors.dimension, vectors.highest)
    checksum = zlib_ng.crc32(levels)
    for view in views:
        checksum = zlib_ng.crc32(view, checksum)
    num_bytes = Field(INT, len(levels) + sum(map(len, views)))
    about = like[5].value | {1: Field(INT, num_rows * vectors.dimension)}
    signed = Field(INT, checksum - (checksum >> 31 << 32))
    header = like | {2: num_bytes, 3: num_bytes, 4: signed, 5: Field(like[5].kind, about)}
    return [struct_bytes(header) + levels, *views]


def _levels(num_rows: int, dimension: int, highest: int) -> bytes:
    """The levels of whole vectors: of each, eight bits that begin it and a run of ones; then that all numbers are there."""
    begins = (b"\x03\xfe" + varint_bytes((dimension - 8) << 1) + b"\x01") * num_rows
    there = varint_bytes(num_rows * dimension << 1) + bytes([highest])
    return b"".join(len(part).to_bytes(4, "little") + part for part in (begins, there))
