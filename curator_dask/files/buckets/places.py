"""The place of a row: the SHA-256 of a seed and a text of the row. It shuffles the clips of an export by their ids.

Sorting by a keyed digest shuffles as well as a generator does, and no library version can change it. The first bits of the
digest also tell the bucket in which all that is known of a clip meets, so that buckets in their order give the whole order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_KEYED: Final = 0
"""Stands before the texts whose digests are keys."""


def digests(texts: pa.ChunkedArray, seed: int) -> NDArray[np.uint64]:
    """(n, 4) the SHA-256 of ``{seed}:{text}`` as four numbers, the first the most significant. Takes text or bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prefix, nothing = pa.scalar(f"{seed}:".encode(), pa.large_binary()), pa.scalar(b"", pa.large_binary())
    keyed = pc.binary_join_element_wise(prefix, texts.cast(pa.large_binary()), nothing).to_pylist()
    sha256 = hashlib.sha256
    whole = b"".join([sha256(one).digest() for one in keyed])
    return np.frombuffer(whole, ">u8").reshape(-1, 4).astype(np.uint64)


def places(ids: pa.ChunkedArray, seed: int) -> NDArray[np.uint64]:
    """(n,) the first eight bytes of each digest."""
    return np.ascontiguousarray(digests(ids, seed)[:, 0])


def order_of(ids: Any, firsts: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """(n,) the order of the whole digests, given the places. Equal places are so rare that digests are made again for them."""
    order = np.argsort(firsts, kind="stable")
    if np.any(firsts[order][1:] == firsts[order][:-1]):
        whole = digests(ids, seed)
        order = np.lexsort(whole.T[::-1])
    return order.astype(np.int64)


def keys_of(texts: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """(n,) S16, the key of each text. Each different text is digested once."""
    import pyarrow as pa

    encoded = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).dictionary_encode()
    whole = digests(encoded.dictionary, _KEYED)[:, :2].astype(">u8")
    keys: NDArray[np.bytes_] = np.ascontiguousarray(whole).view("S16").reshape(-1)
    of_each: NDArray[np.bytes_] = keys[encoded.indices.to_numpy()]
    return of_each
