"""Texts of files' names and lists, which may hold bytes that are no UTF-8, as bytes for tables; which of them come twice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curator_dask.files.buckets.sorted_rows import SortedRows


def bytes_of(text: str) -> bytes:
    """The bytes of any text, in the order of its characters."""
    return text.encode("utf-8", "surrogatepass")


def text_of(data: bytes) -> str:
    """The text that `bytes_of` gave."""
    return data.decode("utf-8", "surrogatepass")


class Texts:
    """Very many texts, sorted on the local disk."""

    def __init__(self, scratch: Path) -> None:
        import pyarrow as pa

        self._rows = SortedRows(scratch, pa.schema([("text", pa.binary())]), ("text",))

    def add(self, texts: Iterable[str]) -> None:
        """Add some, which are in memory for a moment."""
        import pyarrow as pa

        self._rows.add(pa.table([pa.array(map(bytes_of, texts), pa.binary())], schema=self._rows.schema))

    def twice(self) -> list[str]:
        """Those that came more than once, sorted."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: set[bytes] = set()
        last: Any = pa.array([], pa.binary())
        for table in self._rows.tables():
            texts = pa.concat_arrays([last, *table["text"].chunks])
            if len(texts):
                found.update(texts[1:].filter(pc.equal(texts[1:], texts[:-1])).to_pylist())
                last = pa.array(texts[-1:].to_pylist(), pa.binary())  # a copy: a slice would keep all of them in memory
        return sorted(map(text_of, found))
