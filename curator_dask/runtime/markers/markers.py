"""All markers of a stage: files of their own (loose), and those that lie in batches. What a loose one says counts first."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from curator_dask.errors import InputError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.layout import BATCHES, UNITS
from curator_dask.runtime.markers.batches import PIECE_BYTES, Batch, Batches
from curator_dask.runtime.markers.lines import fields_of, key_of, place_in

ENDING = ".json"
AT_A_TIME = 256
"""Lines that are made records at a time, and markers of their own that are read at a time."""
ALL_PIECES_BYTES = 1 << 27
"""What is read of all batches together at a time."""
FEW = 16
"""So many records are looked for one by one; for more of them, the batches are read from the first to the last of them."""


class Record(Protocol):
    """What this room knows of the record of a unit."""

    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Record)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Markers(Generic[R]):
    """The markers below the folder of a stage's state; cheap to make."""

    folder: Folder
    path: str
    """The folder of the stage's state, relative to that of its output."""
    from_text: Callable[[bytes], R]
    """The record in the bytes of a loose marker. Raises ValueError where there is none."""
    from_fields: Callable[[str, dict[str, Any]], R]
    """The record of a key with fields. Raises ValueError where it is none."""

    @property
    def batches(self) -> Batches:
        return Batches(self.folder, f"{self.path}/{BATCHES}")

    def loose_path(self, key: str) -> str:
        return f"{self.path}/{UNITS}/{key}{ENDING}"

    def key_of_loose(self, path: str) -> str:
        return path.rpartition("/")[2].removesuffix(ENDING)

    def loose_entries(self) -> list[Entry]:
        """The markers that are files of their own, by path."""
        return self.folder.entries(f"{self.path}/{UNITS}", max_depth=1, ending=ENDING)

    def keys(self) -> set[str]:
        """The keys of all units that have a marker. Markers that are files of their own are not read."""
        loose = {self.key_of_loose(entry.path) for entry in self.loose_entries()}
        return loose | {record.key for record in self._records([], self.batches.listed())}

    def records(self, keys: Container[str] | None = None) -> Iterator[R]:
        """The record of each unit, in order, few in memory at a time. What cannot be read is left out.

        `keys`: the units that are asked for. No file of others is read, but those in batches may come too. None: all.
        """
        entries = self.loose_entries()  # first: what is packed meanwhile is in the batches
        loose = [entry for entry in entries if keys is None or self.key_of_loose(entry.path) in keys]
        return self._records(loose, self.batches.listed())

    def _records(self, loose: Sequence[Entry], batches: Sequence[Batch]) -> Iterator[R]:
        streams = [self._of_loose(loose)]
        for rank, batch in enumerate(reversed(batches), start=1):
            streams.append(
                self._of_batch(batch, rank, max(1 << 16, min(PIECE_BYTES, ALL_PIECES_BYTES // len(batches))))
            )
        return self._as_records(_newest(heapq.merge(*streams) if batches else streams[0]))

    def _of_loose(self, entries: Sequence[Entry]) -> Iterator[tuple[bytes, int, R | bytes]]:
        for path, record in self._read_loose(entries):
            if record is not None:
                yield path.rpartition("/")[2].encode("utf-8", "surrogateescape"), 0, record

    def _read_loose(self, entries: Sequence[Entry]) -> Iterator[tuple[str, R | None]]:
        """Each path with its record. Another process may put markers into a batch meanwhile: those are looked for there."""
        at = 0
        paths = [entry.path for entry in entries]
        read = self.folder.read_listed(entries, at_once=AT_A_TIME)
        for path, data in itertools.chain(read, [("", b"")]):
            stop = paths.index(path, at) if path else len(paths)
            for gone in paths[at:stop]:
                yield gone, self.packed(self.key_of_loose(gone), self.batches.listed())
            if path:
                yield path, self.parsed(path, data)
            at = stop + 1

    def _of_batch(self, batch: Batch, rank: int, piece_bytes: int) -> Iterator[tuple[bytes, int, R | bytes]]:
        try:
            for line in self.batches.whole_lines(batch, piece_bytes=piece_bytes):
                yield place_in(line), rank, line
        except FileNotFoundError as error:
            raise InputError(
                f"{self.folder.join(batch.path)} is gone: a run puts its records together at this moment. Try again"
            ) from error

    def record(self, key: str) -> R | None:
        """The record of one unit; None where there is none that can be read."""
        return self.loose(key) or self.packed(key, self.batches.listed())

    def loose(self, key: str) -> R | None:
        """What the unit's own file says."""
        path = self.loose_path(key)
        try:
            return self.parsed(path, self.folder.read_bytes(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def packed(self, key: str, batches: Sequence[Batch]) -> R | None:
        """What the newest of these batches says that knows the unit."""
        for batch in reversed(batches):
            try:
                line = self.batches.find(batch, key)
            except FileNotFoundError:  # the client has just put its records into another batch
                return self.record(key)
            if line is not None:
                return next(self._of_lines([line]))
        return None

    def of(self, keys: Sequence[str]) -> Iterator[R]:
        """The records of these units, few in memory at a time; those that cannot be read are left out."""
        left = set(keys)
        for path, data in self.folder.read_many([self.loose_path(key) for key in keys], missing_ok=True):
            if record := self.parsed(path, data):
                left.discard(record.key)
                yield record
        if left:
            yield from self.packed_ones(left, self.batches.listed())

    def packed_ones(self, keys: Collection[str], batches: Sequence[Batch]) -> Iterator[R]:
        """What the newest of these batches say that know the units."""
        if len(keys) <= FEW:
            yield from filter(None, (self.packed(key, batches) for key in keys))
            return
        try:
            found = self._lines_of(keys, batches)
        except FileNotFoundError:  # as above
            yield from filter(None, map(self.record, keys))
        else:
            yield from self._as_records(iter(found))

    def _lines_of(self, keys: Collection[str], batches: Sequence[Batch]) -> list[R | bytes]:
        left, found = set(keys), list[R | bytes]()
        for batch in reversed(batches):
            for line in self.batches.some(batch, left):
                left.discard(key_of(line))
                found.append(line)
        return found

    def parsed(self, path: str, data: bytes) -> R | None:
        """The record in these bytes of a loose marker; None where they are damaged, which the log tells."""
        try:
            return self.from_text(data)
        except ValueError as error:
            logger.warning("%s is damaged, its unit will be done again: %s", self.folder.join(path), error)
            return None

    def _as_records(self, found: Iterator[R | bytes]) -> Iterator[R]:
        """What was found as records, without those of forgotten units."""
        while some := list(itertools.islice(found, AT_A_TIME)):
            lines = [one for one in some if isinstance(one, bytes)]
            packed = self._of_lines(lines)
            records = packed if len(lines) == len(some) else _in_order(some, packed)
            for record in records:
                if record is not None:
                    yield record

    def _of_lines(self, lines: Sequence[bytes]) -> Iterator[R | None]:
        """The records of whole lines; None for a forgotten unit, and for a line of a later version."""
        for key, fields in fields_of(lines):
            try:
                yield None if fields is None else self.from_fields(key, fields)
            except ValueError as error:
                logger.warning("the record of unit %s is not understood, it will be done again: %s", key, error)
                yield None


def _in_order(found: Sequence[R | bytes], packed: Iterator[R | None]) -> Iterator[R | None]:
    """What was found, with the records of lines in place of these."""
    return (next(packed) if isinstance(one, bytes) else one for one in found)


def _newest(found: Iterator[tuple[bytes, int, R | bytes]]) -> Iterator[R | bytes]:
    """Of all that is said of a unit, what counts."""
    last = b""
    for place, _, says in found:
        if place != last:
            last = place
            yield says
