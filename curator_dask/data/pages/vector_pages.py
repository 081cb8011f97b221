"""Vectors of a Parquet file, taken from its pages where these hold them as plain numbers: no value is decoded.

A Parquet reader goes through the levels of every single number to find out where a vector ends and what is null. In files
that `data.tables` writes without compression all vectors have one length and nothing is null, so the levels are two
patterns, which are compared as bytes; the numbers behind them are read as they lie there. Where anything is not as
expected the answer is None, and Arrow reads the column (the format: parquet.apache.org, data pages of version 1)::

    page    header | 4 bytes, levels: a vector begins | 4 bytes, levels: nothing is null | the numbers
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from curator_dask.data.pages.thrift import BYTES, INT, LONG, NO, STRUCT, YES, Struct, read_struct, read_varint

PLAIN, RLE, DATA_PAGE = 0, 3, 0
FLOAT, UNCOMPRESSED = 4, 0
MAGIC: Final = b"PAR1"
LARGEST_FILE_BYTES: Final = 1 << 62
MOST_FOOTER_BYTES: Final = 1 << 17
"""Longer footers are not looked through: one of this length takes about a twentieth of a second."""
DEEPEST: Final = 2
"""How deep structs lie in a header: that of the page, what kind of page it is, its statistics."""
HEAD_BYTES: Final = 16 << 10
"""So many bytes of a page are read for its header and levels, and more only where these are longer."""
MOST_RUNS: Final = 64
"""Runs of levels that are looked at one by one: the pattern of one vector, or of eight, is found long before."""


ReadAt = Callable[[memoryview, int], int]
"""Fills a buffer with the bytes of a file from a place on; returns how many there were."""


class PlainChunk(NamedTuple):
    """The vectors of a row group, as they lie in the file."""

    start: int
    """Its first byte."""
    num_bytes: int
    num_rows: int
    dimension: int
    highest: int
    """The level that says of a number that it is there."""


def plain_chunks(metadata: Any, name: str, row_groups: Sequence[int] | None = None) -> list[PlainChunk] | None:
    """Where the vectors of a column lie, if they may be plain float32 numbers; else None.

    Args:
        metadata: `pyarrow.parquet.FileMetaData`.
        name: of the column.
        row_groups: only these; None: all.
    """
    paths = [f"{name}.list.{element}" for element in ("element", "item")]
    leaves = [at for at in range(metadata.num_columns) if metadata.schema.column(at).path in paths]
    if len(leaves) != 1 or metadata.schema.column(leaves[0]).max_repetition_level != 1:
        return None
    highest = metadata.schema.column(leaves[0]).max_definition_level
    try:
        groups = _described_groups(metadata)
        some = groups if row_groups is None else [groups[at] for at in row_groups]
        found = [_plain_chunk(group, leaves[0], highest) for group in some]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # another kind of footer, or damaged
        return None
    chunks = [chunk for chunk in found if chunk is not None]
    return chunks if chunks and len(chunks) == len(found) else None


def _described_groups(metadata: Any) -> list[Struct]:
    """The row groups as the footer describes them; ValueError for a long footer.

    Arrow's own objects for the columns of a row group end the process where a footer is damaged.
    """
    if metadata.serialized_size > MOST_FOOTER_BYTES:
        raise ValueError("looking through the footer takes longer than it saves")
    sink = io.BytesIO()
    metadata.write_metadata_file(sink)
    groups: list[Struct] = read_struct(sink.getbuffer(), len(MAGIC))[0][4].value.values
    return groups


def _plain_chunk(group: Struct, leaf: int, highest: int) -> PlainChunk | None:
    """The numbers of fields are those of parquet.thrift."""
    column = group[1].value.values[leaf]
    about, num_rows = column[3].value, group[3].value
    kind, codec, num_values, num_bytes, start = (about[number].value for number in (1, 4, 5, 7, 9))
    is_plain = (
        (kind, codec) == (FLOAT, UNCOMPRESSED)
        and 11 not in about  # a dictionary
        and set(about[2].value.values) <= {PLAIN, RLE}
    )
    if not is_plain or num_rows < 1 or num_values % num_rows:
        return None
    if min(start, num_bytes) < len(MAGIC) or start + num_bytes > LARGEST_FILE_BYTES:
        return None
    return PlainChunk(start, num_bytes, num_rows, num_values // num_rows, highest)


class PlainVectors(NamedTuple):
    """Vectors that lie in a file as plain numbers."""

    X: NDArray[np.float32]
    """(n, D)"""
    at: NDArray[np.int64] | None
    """(n,) the first byte of each in the file; None where one goes on in another page."""


def vectors_of_pages(
    read: ReadAt, chunks: Sequence[PlainChunk], room: NDArray[np.float32] | None = None
) -> PlainVectors | None:
    """The vectors of all chunks; None where they are not all plain vectors of one length.

    The numbers are read to their places: there is no second copy of them.

    Args:
        read: reads from the file.
        chunks: as `plain_chunks` gives them, at least one.
        room: (m, D) float32, C-contiguous; the vectors take its first rows where there are enough of them.
    """
    D = chunks[0].dimension
    if any(chunk.dimension != D or chunk.num_bytes < 4 * chunk.num_rows * D for chunk in chunks):
        return None
    row = 0
    try:
        for chunk in chunks:  # memory is taken only for what the file has
            _bytes_at(read, chunk.start + chunk.num_bytes - 1, 1)
        X = _place_for(sum(chunk.num_rows for chunk in chunks), D, room)
        pages: list[_Place] = []
        for chunk in chunks:
            pages += _fill(X[row : row + chunk.num_rows].reshape(-1), read, chunk)
            row += chunk.num_rows
    except (ValueError, IndexError):  # another kind of page, or a damaged one
        return None
    return PlainVectors(X, _starts(pages, D))


def _place_for(num_rows: int, dimension: int, room: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if room is not None and len(room) >= num_rows and room.shape[1] == dimension:
        return room[:num_rows]
    return np.empty((num_rows, dimension), np.float32)


class _Place(NamedTuple):
    """Where the numbers of a page lie."""

    at: int
    num_values: int


def _starts(pages: Sequence[_Place], dimension: int) -> NDArray[np.int64] | None:
    if any(page.num_values % dimension for page in pages):
        return None
    steps = [page.at + 4 * dimension * np.arange(page.num_values // dimension) for page in pages]
    return np.concatenate(steps)


def _fill(numbers: NDArray[np.float32], read: ReadAt, chunk: PlainChunk) -> Iterator[_Place]:
    """Read the numbers of a chunk, page by page. Raises ValueError or IndexError unless they are plain vectors."""
    filled, at, stop = 0, chunk.start, chunk.start + chunk.num_bytes
    while at < stop:
        page = _page_at(read, at, stop)
        own = numbers[filled : filled + page.num_values]
        _read_all(read, own.view(np.uint8).data, page.numbers_at)
        at = page.numbers_at + 4 * page.num_values
        if (
            page.checksum is not None
            and zlib_ng.crc32(own.data, zlib_ng.crc32(page.levels)) != page.checksum & 0xFFFFFFFF
        ):
            raise ValueError("its bytes are not those that were written")
        if at > stop or len(own) != page.num_values:
            raise ValueError("there are more numbers than expected")
        _check_levels(page, filled, chunk)
        filled += page.num_values
        yield _Place(page.numbers_at, page.num_values)
    if filled != len(numbers):
        raise ValueError("some numbers are not there")


class _Page(NamedTuple):
    num_values: int
    levels: bytes
    """Those of both kinds, each with their length before them."""
    numbers_at: int
    """Its first number, in the file."""
    checksum: int | None


def _page_at(read: ReadAt, at: int, stop: int) -> _Page:
    """The page that begins at a byte of the file. Raises ValueError for one that is compressed, damaged or of another kind."""
    head = _bytes_at(read, at, min(HEAD_BYTES, stop - at))
    header, behind = _fields(head, 0)
    size, of_data, checksum = header.get(3), header.get(5), header.get(4)
    if not isinstance(of_data, dict) or not isinstance(size, int) or not 0 < size <= stop - at:
        raise ValueError("not a page of data")
    count = of_data.get(1)
    kinds = header.get(1), header.get(2), of_data.get(2), of_data.get(3), of_data.get(4)
    if kinds != (DATA_PAGE, size, PLAIN, RLE, RLE) or not isinstance(count, int) or not 0 <= 4 * count <= size:
        raise ValueError("not a page of plain numbers")
    numbers = behind + size - 4 * count
    if numbers > len(head):
        head = _bytes_at(read, at, numbers)
    return _Page(count, head[behind:numbers], at + numbers, checksum if isinstance(checksum, int) else None)


def _bytes_at(read: ReadAt, at: int, num_bytes: int) -> bytes:
    buffer = bytearray(num_bytes)
    _read_all(read, memoryview(buffer), at)
    return bytes(buffer)


def _read_all(read: ReadAt, buffer: memoryview, at: int) -> None:
    if read(buffer, at) != len(buffer):
        raise ValueError("the file ends before its pages do")


def _fields(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The fields of a struct by their numbers, and where it ends. Raises ValueError for types that no such header has.

    It is stricter than `read_struct`, as the file may be a stranger's: nothing in it makes this long or deep.
    """
    found: dict[int, Any] = {}
    number = 0
    while data[at]:
        step, kind = data[at] >> 4, data[at] & 15
        if not step or depth > DEEPEST:
            raise ValueError("not a header that is known")
        number += step
        found[number], at = _field(data, at + 1, kind, depth)
    return found, at + 1


def _field(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """The value of a field, and where it ends; statistics are passed over."""
    if kind == STRUCT:
        return _fields(data, at, depth + 1)
    if kind in (YES, NO):
        return kind == YES, at
    value, at = read_varint(data, at)
    if kind == BYTES:
        return None, at + value
    if kind not in (INT, LONG):
        raise ValueError("not a header that is known")
    return (value >> 1) ^ -(value & 1), at


def _check_levels(page: _Page, first: int, chunk: PlainChunk) -> None:
    """Raise ValueError where the numbers of a page, which begins with number `first` of the chunk, are no whole vectors."""
    begins, behind = _levels(page.levels, 0)
    there, behind = _levels(page.levels, behind)
    if behind != len(page.levels):
        raise ValueError("some numbers are not there")
    _check_all_there(there, page.num_values, chunk.highest)
    _check_beginnings(begins, first, page.num_values, chunk.dimension)


def _levels(both: bytes, at: int) -> tuple[bytes, int]:
    """The bytes of levels that stand here behind their length, and where they end."""
    stop = at + 4 + int.from_bytes(both[at : at + 4], "little")
    return both[at + 4 : stop], stop


def _check_all_there(levels: bytes, count: int, highest: int) -> None:
    at = 0
    while at < len(levels) and count > 0:
        head, at = read_varint(levels, at)
        if head & 1 or levels[at] != highest:
            raise ValueError("some numbers are not there")
        count, at = count - (head >> 1), at + 1
    if count:
        raise ValueError("there are more or fewer levels than numbers")


def _check_beginnings(levels: bytes, first: int, count: int, dimension: int) -> None:
    """Raise ValueError unless exactly every `dimension`-th number of the chunk begins a vector.

    The runs of the levels repeat with every vector, or with every eighth: once one period is known, the rest is compared
    as bytes.
    """
    at = place = 0
    period: tuple[int, int] | None = None  # where it begins among the bytes, and among the numbers
    for _ in range(MOST_RUNS):
        if place >= count:
            return
        if (first + place) % dimension == 0:
            if period is not None:
                at, place = _skip_periods(levels, period, (at, place), count)
            period = at, place
            if place >= count:
                return
        at, place = _check_run(levels, at, first, place, min(count - place, count), dimension)
    raise ValueError("the vectors have no common pattern")


def _skip_periods(levels: bytes, start: tuple[int, int], now: tuple[int, int], count: int) -> tuple[int, int]:
    """Behind the periods that follow, which have the bytes of the one from `start` to `now`."""
    unit, length = levels[start[0] : now[0]], now[1] - start[1]
    repeats = (count - now[1]) // length
    if levels[now[0] : now[0] + repeats * len(unit)] != unit * repeats:
        return now
    return now[0] + repeats * len(unit), now[1] + repeats * length


def _check_run(levels: bytes, at: int, first: int, place: int, left: int, dimension: int) -> tuple[int, int]:
    """Check one run of levels, of at most `left` numbers; returns where the next one begins."""
    head, at = read_varint(levels, at)
    if head & 1:
        stop = at + (head >> 1)
        bits = np.unpackbits(np.frombuffer(levels[at:stop], np.uint8), bitorder="little")[:left]
    else:
        stop = at + 1
        bits = np.full(min(head >> 1, left), levels[at], np.uint8)
    number = first + place + np.arange(len(bits))
    if not len(bits) or not np.array_equal(bits == 0, number % dimension == 0) or bits.max(initial=0) > 1:
        raise ValueError("a vector is of another length")
    return stop, place + len(bits)
