"""Find rows by their ids without holding the ids: by digests of their texts, 16 bytes each.

A digest of 128 bits (BLAKE2b) stands for its text, as the hash of a file stands for its bytes: among 10**10 ids, two share
one with a probability of about 10**-19, and nobody can make two that do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks

if TYPE_CHECKING:
    import pyarrow as pa

Digests = NDArray[np.uint64]
"""(N, 2) uint64."""
TEXTS_AT_ONCE = 65_536
BLOCK_ROWS = 1 << 20


def id_digests(texts: pa.ChunkedArray) -> Digests:
    """(N, 2) the digests of ids, which are texts (`data.ids.id_texts`).

    >>> import pyarrow as pa
    >>> one, other = (id_digests(pa.chunked_array([[name]])) for name in "ab")
    >>> one.shape, bool((one == other).any())
    ((1, 2), False)
    """
    import pyarrow as pa

    found = bytearray()
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts.slice(start, TEXTS_AT_ONCE).cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        found += b"".join([hashlib.blake2b(one, digest_size=16).digest() for one in some])
    return np.frombuffer(bytes(found), "<u8").reshape(-1, 2)


@dataclass(frozen=True)
class RowIndex:
    """The digests of N ids, and their rows sorted by the first bits of these: 24 bytes per row, and no more to make it."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    places: NDArray[np.uint64]
    """(N,) ascending: the first bits of the digest of a row, and in the last ones its number."""
    row_bits: np.uint64
    """How many bits the numbers take."""
    most_alike: int
    """The most rows whose digests have the same first bits."""

    @staticmethod
    def of(halves: list[NDArray[np.uint64]]) -> RowIndex:
        """The index of rows whose digests have these two halves, (N,) each."""
        high, low = halves
        row_bits = np.uint64(max(len(high) - 1, 1).bit_length())
        places = high >> row_bits
        places <<= row_bits
        for rows in row_blocks(len(places), BLOCK_ROWS):
            places[rows] |= np.arange(rows.start, rows.stop, dtype=np.uint64)
        places.sort()
        return RowIndex(high, low, places, row_bits, _most_alike(places, row_bits))

    def find(self, texts: pa.ChunkedArray) -> NDArray[np.int64]:
        """(M,) the row of each id; -1 for one that is not there. Of rows with one id, it is the first.

        >>> import pyarrow as pa
        >>> digests = id_digests(pa.chunked_array([["a", "b", "c", "b"]]))
        >>> RowIndex.of([*digests.T]).find(pa.chunked_array([["c", "x", "b"]])).tolist()
        [2, -1, 1]
        """
        return self.find_digests(id_digests(texts))

    def find_digests(self, wanted: Digests) -> NDArray[np.int64]:
        """(M,) as `find`, by the digests of ids, (M, 2)."""
        found = np.full(len(wanted), -1)
        start = np.searchsorted(self.places, (wanted[:, 0] >> self.row_bits) << self.row_bits)
        number = (np.uint64(1) << self.row_bits) - np.uint64(1)
        for step in range(self.most_alike):
            row = (self.places[np.minimum(start + step, len(self.places) - 1)] & number).astype(np.int64)
            hit = (found < 0) & (self.high[row] == wanted[:, 0]) & (self.low[row] == wanted[:, 1])
            found[hit] = row[hit]
        return found


def _most_alike(ordered: NDArray[np.uint64], row_bits: np.uint64) -> int:
    """The most times that the same first bits stand in a sorted array."""
    most = min(len(ordered), 1)
    blocks = (
        rows.start + _like_next(ordered[rows.start : rows.stop + 1], row_bits)
        for rows in row_blocks(len(ordered), BLOCK_ROWS)
    )
    alike = np.concatenate([np.zeros(0, np.int64), *blocks])
    while len(alike):  # pairs of neighbours, then of neighbours but one, and so on
        most += 1
        alike = alike[alike + most < len(ordered)]
        alike = alike[(ordered[alike + most] ^ ordered[alike]) >> row_bits == 0]
    return most


def _like_next(ordered: NDArray[np.uint64], row_bits: np.uint64) -> NDArray[np.int64]:
    """The places of numbers that have the same first bits as the next one."""
    return np.flatnonzero((ordered[1:] ^ ordered[:-1]) >> row_bits == 0)
