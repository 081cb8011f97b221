"""Small objects that this process has read, by the version that a listing told: they are not asked for again.

The version of a small object is the MD5 of its content, in most stores. Only what has it is kept, so what is found under a
version and a size is what the object held when it was listed, whichever object it is.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

MOST_BYTES = 16 << 20
"""What is kept at the most; what was not asked for the longest goes first."""
LARGEST_BYTES = 1 << 18


class KeptContents:
    """Contents by version. Threads may share it."""

    def __init__(self) -> None:
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, version: str, num_bytes: int) -> bytes | None:
        """The content of an object of this version and size; None where it was not read, or was let go."""
        with self._lock:
            data = self._contents.get(version)
            if data is None or len(data) != num_bytes:
                return None
            self._contents.move_to_end(version)
            return data

    def keep(self, version: str, data: bytes) -> None:
        """Keep what was read of an object that was listed with this version, if it still is what was listed."""
        if len(data) > LARGEST_BYTES or version.strip('"') != hashlib.md5(data, usedforsecurity=False).hexdigest():
            return
        with self._lock:
            self._num_bytes += len(data) - len(self._contents.pop(version, b""))
            self._contents[version] = data
            while self._num_bytes > MOST_BYTES:
                self._num_bytes -= len(self._contents.popitem(last=False)[1])


KEPT = KeptContents()
"""That of this process."""
