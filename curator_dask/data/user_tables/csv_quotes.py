"""Find a quote in a CSV file that is never closed. Readers of CSV take all rows behind it for one cell, and say nothing.

A quote opens a cell only where the cell begins. Inside the cell, two quotes stand for one. A cell over several lines with text
behind its last quote shows the same fault: that quote opens a cell of a later row.
"""

from __future__ import annotations

import re
from typing import IO, Final

_CELL: Final = re.compile(rb'"(?:[^"]++|"")*+"')


class CheckedStream:
    """Passes on the bytes of a CSV file, and looks at its quotes on the way. Memory holds the cell that is still open."""

    def __init__(self, stream: IO[bytes], separator: str) -> None:
        self._stream = stream
        ends = re.escape(separator.encode()) + rb"\r\n"
        one_line, more_lines = rb'"(?:[^"\r\n]++|"")*+"', rb'"(?:[^"]++|"")*+"(?=[' + ends + rb"])"
        no_cell = rb'[^"]++|(?<![' + ends + rb'])"'
        self._well_formed = re.compile(rb"(?:" + no_cell + rb"|" + one_line + rb"|" + more_lines + rb")*+")
        self._waiting = b"\n"
        """What is not understood yet: the cell that is open. The byte before it stands in front."""
        self._ends_of_lines = (0, 0)
        """Line feeds and carriage returns so far. Where there are both, they come in pairs."""
        self.fault: str | None = None
        """What is wrong, and in which line; None as long as nothing is known to be wrong."""
        self.closed = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if self.fault is None:
            self._look_at(self._waiting + (data or b"\n"), is_last=not data)
        return data

    @property
    def open_line(self) -> int | None:
        """The line of the quote whose cell is open after all that was read; None if there is none."""
        return self._line() if self._waiting.startswith(b'"', 1) else None

    def _look_at(self, given: bytes, *, is_last: bool) -> None:
        body = given if is_last else given.rstrip(b'"')  # whether the last quote closes a cell, the next byte tells
        at = self._end_of_good(body)
        feeds, returns = self._ends_of_lines
        self._ends_of_lines = feeds + given.count(b"\n", 1, at), returns + given.count(b"\r", 1, at)
        self._waiting = given[at - 1 :]
        if at < len(body) and (is_last or _CELL.match(body, at)):
            self.fault = f"the quote that opens a cell in line {self._line()} is not closed"

    def _end_of_good(self, body: bytes) -> int:
        found = self._well_formed.match(body, 1) if b'"' in body else None
        return found.end() if found else max(len(body), 1)

    def _line(self) -> int:
        return max(self._ends_of_lines) + 1
