"""Find rows by their ids without holding the ids: by digests of their texts, 16 bytes each.

A digest of 128 bits (BLAKE2b) stands for its text, as the hash of a file stands for its bytes: among 10**10 ids, two share
one with a probability of about 10**-19, and nobody can make two that do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Digests = NDArray[np.uint64]
"""(N, 2) uint64."""
TEXTS_AT_ONCE = 65_536


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
    """The digests of N ids, sorted, with their rows: 20 bytes per row below four billion rows."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    row: NDArray[Any]
    most_alike: int
    """The most rows whose first halves are one number."""

    @staticmethod
    def of(halves: list[NDArray[np.uint64]]) -> RowIndex:
        """The index of rows with these digests. It takes their two halves, (N,) each, out of the list, to save memory."""
        low, high = halves.pop(), halves.pop()
        order = np.argsort(high, kind="stable")
        if len(high) < 2**32:
            order = order.astype(np.uint32)
        high = high[order]
        low = low[order]
        return RowIndex(high, low, order, _most_alike(high))

    def find(self, texts: pa.ChunkedArray) -> NDArray[np.int64]:
        """(M,) the row of each id; -1 for one that is not there. Of rows with one id, it is the first.

        >>> import pyarrow as pa
        >>> digests = id_digests(pa.chunked_array([["a", "b", "c", "b"]]))
        >>> RowIndex.of([*digests.T]).find(pa.chunked_array([["c", "x", "b"]])).tolist()
        [2, -1, 1]
        """
        wanted = id_digests(texts)
        found = np.full(len(wanted), -1)
        start = np.searchsorted(self.high, wanted[:, 0])
        for step in range(self.most_alike):
            at = np.minimum(start + step, len(self.high) - 1)
            hit = (found < 0) & (self.high[at] == wanted[:, 0]) & (self.low[at] == wanted[:, 1])
            found[hit] = self.row[at[hit]]
        return found


def _most_alike(ordered: NDArray[np.uint64]) -> int:
    """The most times that one number stands in a sorted array."""
    most = min(len(ordered), 1)
    while (ordered[most:] == ordered[: len(ordered) - most]).any():
        most += 1
    return most
