"""Files that hold the records of many units, in the order of their keys. A batch is never changed, only replaced.

``{number}-{hash of the content}.jsonl``: what a batch with a higher number says of a unit replaces what the others say.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from curator_dask.files.content_hash import NAMES_CONTENT, hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.runtime.markers.lines import is_whole, key_of, lines_in, place_of, text_of

MOST_BYTES = 1 << 26
"""Batches of more bytes are not joined with others, so that joining them takes little memory."""
PIECE_BYTES = 1 << 22
"""What is read of a batch at a time."""
PART_BYTES = 1 << 20
"""What one request to an object store asks for of it."""
LOOK_UP_BYTES = 1 << 14
"""What is read at a time where one record is looked for."""

_NAME = re.compile(r"(\d{8,})-[0-9a-f]{16}\.jsonl")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    """One file of records."""

    number: int
    path: str
    """Relative to the folder of the stage's output."""
    num_bytes: int


@dataclass(frozen=True)
class Batches:
    """The batches of one stage."""

    folder: Folder
    path: str

    def listed(self) -> list[Batch]:
        """All batches, the oldest first."""
        found = [
            Batch(int(match[1]), entry.path, entry.num_bytes)
            for entry in self.folder.entries(self.path, max_depth=1)
            if (match := _NAME.fullmatch(entry.path.rpartition("/")[2]))
        ]
        return sorted(found)

    def write(self, number: int, lines: Sequence[bytes]) -> str:
        """Write a batch of lines that are in order; returns its path."""
        text = text_of(lines)
        path = f"{self.path}/{number:08d}-{hash_of(text, like=NAMES_CONTENT).partition(':')[2][:16]}.jsonl"
        self.folder.write_bytes(path, text)
        return path

    def remove(self, batches: Sequence[Batch]) -> None:
        """Remove batches, the oldest first: so nothing comes back that a newer one of them says is forgotten."""
        for batch in sorted(batches):
            self.folder.remove(batch.path)

    def lines(
        self, batch: Batch, *, start: int = 0, piece_bytes: int = PIECE_BYTES
    ) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """The lines of a batch that begin at a byte or later, some at a time: whole ones, and damaged ones."""
        rest = b""
        for at in range(start, batch.num_bytes, piece_bytes):
            text = rest + self._read(batch, at, min(at + piece_bytes, batch.num_bytes))
            ended, newline, rest = text.rpartition(b"\n")
            if newline:
                yield lines_in(ended)
        yield lines_in(rest)

    def whole_lines(self, batch: Batch, *, start: int = 0, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """As `lines`, those that are not damaged; of the others, the log tells how many there are."""
        num_damaged = 0
        try:
            for whole, damaged in self.lines(batch, start=start, piece_bytes=piece_bytes):
                num_damaged += len(damaged)
                yield from whole
        finally:
            if num_damaged:
                found = counted(num_damaged, "damaged records")
                logger.warning("%s in %s: their units will be done again", found, self.folder.join(batch.path))

    def find(self, batch: Batch, key: str) -> bytes | None:
        """The line of a unit, looked for as in a dictionary: a few reads, however large the batch is."""
        low, high = self._part_with(batch, place_of(key))
        whole, _ = lines_in(self._read(batch, low, high))
        return next((line for line in whole if key_of(line) == key), None)

    def some(self, batch: Batch, keys: Set[str]) -> Iterator[bytes]:
        """The lines of these units; the batch is read from the first to the last of them. `keys` may lose what was found."""
        if not keys:
            return
        last = max(map(place_of, keys))
        start, _ = self._part_with(batch, min(map(place_of, keys)))
        for line in self.whole_lines(batch, start=start):
            if (key := key_of(line)) in keys:
                yield line
            elif place_of(key) > last:
                return

    def _part_with(self, batch: Batch, place: str) -> tuple[int, int]:
        """The bytes between which a line lies, if it is there: some thousand, or a single long line."""
        low, high = 0, batch.num_bytes
        while high - low > LOOK_UP_BYTES:
            start, line = self._line_after(batch, (low + high) // 2, high)
            if start == high:
                break  # one long line
            if not is_whole(line):
                return 0, batch.num_bytes  # the order is not known any more
            low, high = (start, high) if place_of(key_of(line)) <= place else (low, start)
        return low, high

    def _line_after(self, batch: Batch, at: int, stop: int) -> tuple[int, bytes]:
        """The first line that begins behind a byte, and where it begins; `stop` where none does before that."""
        text, end = b"", at
        while True:
            begin = text.find(b"\n") + 1
            if begin and at + begin == stop:
                return stop, b""
            if begin and (newline := text.find(b"\n", begin)) >= 0:
                return at + begin, text[begin:newline]
            if end == stop:
                return stop, b""
            text += self._read(batch, end, min(end + LOOK_UP_BYTES, stop))
            end = min(end + LOOK_UP_BYTES, stop)

    def _read(self, batch: Batch, start: int, stop: int) -> bytes:
        """The bytes between two places, in parts that travel at the same time."""
        borders = [*range(start, stop, PART_BYTES), stop]
        return b"".join(self.folder.read_spans(batch.path, list(itertools.pairwise(borders)))) if start < stop else b""
