"""The hash of a file's content: which kinds there are, and the size of a written file together with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import IO, Any

import xxhash

FINDS_DAMAGE = "xxh3_128"
"""The hash of new files in records. It finds every damage and every edit, but whoever tries can make two files that share it."""
NAMES_CONTENT = "blake2b"
"""The hash for digests that stand for a content: equal ones mean that work is done already. It is safe against such files."""
HASHES: dict[str, Callable[[], Any]] = {
    FINDS_DAMAGE: xxhash.xxh3_128,
    NAMES_CONTENT: lambda: hashlib.blake2b(digest_size=16),
    "sha256": hashlib.sha256,
}
"""The hashes of content that records may hold, by name. Earlier versions wrote blake2b for new files."""


class Written(int):
    """The number of bytes of a file, with the hash of its content as ``{name}:{hex digits}``; "" where it is not known."""

    content_hash: str

    def __new__(cls, num_bytes: int, content_hash: str = "") -> Written:
        written = super().__new__(cls, num_bytes)
        written.content_hash = content_hash
        return written


def hash_of(*parts: bytes | memoryview, like: str = FINDS_DAMAGE) -> str:
    """The hash of a content, which may be in parts, of the kind whose name `like` begins with.

    Raises ValueError for a name that this version does not know.
    """
    return _hash_of(parts, like)


def hash_of_stream(stream: IO[bytes], like: str = FINDS_DAMAGE) -> str:
    """As `hash_of`, of the rest of a stream."""
    return _hash_of(iter(lambda: stream.read(1 << 20), b""), like)


def _hash_of(parts: Iterable[bytes | memoryview], like: str) -> str:
    name = like.partition(":")[0]
    if name not in HASHES:
        raise ValueError(f"{like!r} is no hash that this version knows")
    digest = HASHES[name]()
    for part in parts:
        digest.update(part)
    return f"{name}:{digest.hexdigest()}"
