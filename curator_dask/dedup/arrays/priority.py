"""A seeded 64-bit number for every id: random order and random samples that depend on the ids alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.errors import InputError, ParameterError

MASK = (1 << 64) - 1


def sample_priority(ids: Any, seed: int) -> NDArray[np.uint64]:
    """Hash every id together with ``seed``.

    >>> few, many = sample_priority(["b", "a"], 42), sample_priority(["a", "x", "b"], 42)
    >>> few.tolist() == many[[2, 0]].tolist()
    True
    >>> sample_priority(np.int32([7]), 42) == sample_priority(np.int64([7]), 42)
    array([ True])

    The value depends on the id and the seed only: not on its row, its neighbours, the file or the partition, nor on
    the width of the type (int32 or int64, ``<U5`` or ``object``). The ``m`` smallest are a uniform sample of ``m``
    ids; the order by value is a random order.

    Args:
        ids: (N,) integers, strings or bytes (NumPy integers, ``<U``, ``StringDType``, or objects that are all int, all
            str or all bytes).
        seed: any integer from 0 to 2**64 - 1.

    Returns:
        (N,) uint64. Integers go through splitmix64 (a bijection: no two share a value), strings and bytes through
        blake2b.
    """
    if not 0 <= seed <= MASK:
        raise ParameterError(f"random_seed must be from 0 to 2**64 - 1, got {seed}")
    array = np.asarray(ids)
    if array.dtype.kind in "iu":
        return _hash_integers(array, seed)
    values = array.tolist()
    if all(isinstance(value, str) for value in values):
        # Names on disk need not be valid Unicode; lone surrogates stand for their bytes.
        return _hash_bytes([value.encode("utf-8", "surrogatepass") for value in values], seed)
    if array.dtype.kind == "O" and all(isinstance(value, bytes) for value in values):  # NumPy's own bytes lose zeros
        return _hash_bytes(values, seed)
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values):
        return _hash_integers(np.array([int(value) & MASK for value in values], dtype=np.uint64), seed)
    raise InputError(
        f"ids must be all integers, all strings or all bytes, got an array of {array.dtype} with other values"
    )


def _hash_integers(ids: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    # Negative numbers wrap to their 64-bit pattern, whatever the width they came in.
    wide = ids.astype(np.int64).view(np.uint64) if ids.dtype.kind == "i" else ids.astype(np.uint64)
    return _splitmix64(wide + _splitmix64(np.array([seed], dtype=np.uint64)))


def _splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of Steele, Lea and Flood's SplitMix (OOPSLA 2014); arithmetic modulo 2**64."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _hash_bytes(values: list[bytes], seed: int) -> NDArray[np.uint64]:
    keyed = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"))
    digests = bytearray()
    for value in values:
        digest = keyed.copy()
        digest.update(value)
        digests += digest.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)
