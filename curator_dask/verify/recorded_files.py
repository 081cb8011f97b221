"""All files of an output, each with what the listing and the records say of it, sorted by path on the local disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from curator_dask.files.buckets.sorted_rows import SortedRows
from curator_dask.files.entries.entry import Entry
from curator_dask.verify.texts import bytes_of, text_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 8_192
"""Rows that wait as Python objects."""


UnitKey = tuple[int, str]
"""Number of a stage, and key of one of its units."""


class Recorded(NamedTuple):
    """What one record says of a file."""

    stage: int
    """The number of the stage among those of the output."""
    unit: str
    """The key of the unit; "" for a file of the stage as a whole."""
    num_bytes: int
    """-1 where only the name is known."""
    content_hash: str
    """"" where it is not known."""


class FileRecords(NamedTuple):
    """One path that is there, or that a record names."""

    path: str
    """Relative to the output."""
    num_bytes: int | None
    """Of the file; None if it is not there."""
    recorded: tuple[Recorded, ...]
    """By stage; for each the units by key, then the stage as a whole."""

    def units(self) -> list[UnitKey]:
        """The units that name the file as theirs."""
        return [(one.stage, one.unit) for one in self.recorded if one.unit]


class RecordedFiles:
    """The files, and how many they are. Memory holds some thousand of them."""

    def __init__(self, scratch: Path) -> None:
        self.num_files = self.num_bytes = self.num_without_hash = 0
        self._rows = SortedRows(scratch, _schema(), ("path", "stage", "is_of_stage", "unit"))
        self._waiting: list[tuple[Any, ...]] = []

    def listing(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Add the files of a listing; gives their paths."""
        for entry in entries:
            self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + entry.num_bytes
            self._add((bytes_of(entry.path), -1, False, b"", entry.num_bytes, ""))
            yield entry.path

    def add(self, stage: int, prefix: str, outputs: Iterable[tuple[str, int]], unit: str = "") -> None:
        """Add what a record says: paths relative to the folder of the stage, with sizes as `Written` or as numbers.

        Args:
            stage: its number.
            prefix: its folder, relative to the output, with a slash at the end; or "".
            outputs: the paths and sizes.
            unit: the key of the unit; "" for files of the stage as a whole.
        """
        key = bytes_of(unit)
        for path, size in outputs:
            content_hash = getattr(size, "content_hash", "")
            self.num_without_hash += not content_hash
            self._add((bytes_of(prefix + path), stage, not unit, key, int(size), content_hash))

    def __iter__(self) -> Iterator[FileRecords]:
        """The files by the bytes of their paths; as often as it is asked for."""
        self._flush()
        rows = (row for table in self._rows.tables() for row in zip(*map(_values, table.columns), strict=True))
        for path, same in itertools.groupby(rows, itemgetter(0)):
            yield _file_of(path, list(same))

    def _add(self, row: tuple[Any, ...]) -> None:
        self._waiting.append(row)
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            columns = zip(zip(*self._waiting, strict=True), _schema(), strict=True)
            self._rows.add(pa.table([pa.array(values, field.type) for values, field in columns], schema=_schema()))
            self._waiting = []


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _file_of(path: bytes, rows: list[tuple[Any, ...]]) -> FileRecords:
    """The file of all rows of one path, of which that of the listing comes first."""
    listed = [num_bytes for _, stage, _, _, num_bytes, _ in rows if stage < 0]
    recorded = (
        Recorded(stage, text_of(unit), num_bytes, content_hash)
        for _, stage, _, unit, num_bytes, content_hash in rows
        if stage >= 0
    )
    return FileRecords(text_of(path), listed[-1] if listed else None, tuple(recorded))


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = [pa.binary(), pa.int32(), pa.bool_(), pa.binary(), pa.int64(), pa.string()]
    names = ("path", "stage", "is_of_stage", "unit", "num_bytes", "content_hash")
    return pa.schema(list(zip(names, kinds, strict=True)))
