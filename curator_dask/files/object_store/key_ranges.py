"""Ranges of the keys of an object store, cut in two where keys may lie on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator_dask.files.object_store.page import NotUnderstoodError, Page

_FIRST, _LAST = 0x20, 0x7F
"""Between these characters most keys lie. Ranges are cut there alone; other keys are found too."""


@dataclass(frozen=True, slots=True)
class Range:
    """The keys after one, up to another one; None: to the end."""

    after: str
    until: str | None
    num_same: int
    """So many characters are the same in all keys."""

    def part_of(self, page: Page) -> Page:
        """The part of the page behind `after` that lies in the range. Its token is empty where the range ends with it."""
        if page.keys and page.keys[0] <= self.after:
            raise NotUnderstoodError("the store does not begin where it is asked to")
        if not page.keys or self.until is None or page.keys[-1] < self.until:
            return page
        num = sum(key <= self.until for key in page.keys)
        return Page(page.keys[:num], page.num_bytes[:num], page.versions[:num], "")

    def rest(self, page: Page) -> Range | None:
        """What is left of the range behind its part of a page; None: nothing."""
        if page.token and not page.keys:
            raise NotUnderstoodError("an empty page that is not the last one")
        return Range(page.keys[-1], self.until, self.num_same) if page.token else None

    def halves(self) -> list[Range]:
        """Two ranges, or the range itself where no place to cut it is known."""
        middle = _between(self.after, self.until, self.num_same)
        if middle is None:
            return [self]
        return [Range(self.after, middle, self.num_same), Range(middle, self.until, self.num_same)]


def cut(ranges: Sequence[Range], num_wanted: int) -> Sequence[Range]:
    """The same keys in up to so many ranges."""
    while len(ranges) < num_wanted:
        halves = [
            part for number, one in enumerate(ranges) for part in _halves_if(one, len(ranges) + number < num_wanted)
        ]
        if len(halves) == len(ranges):
            break
        ranges = halves
    return ranges


def _halves_if(one: Range, wanted: bool) -> list[Range]:
    return one.halves() if wanted else [one]


def _between(after: str, until: str | None, num_same: int) -> str | None:
    """A key between two others, at the first character where there is room."""
    for at in range(num_same, len(after) + 1):
        low = max(_FIRST, ord(after[at])) if at < len(after) else _FIRST
        same = until is not None and until[:at] == after[:at]
        high = min(_LAST, ord(until[at])) if until is not None and same and at < len(until) else _LAST
        if high - low > 1:
            return after[:at] + chr((low + high) // 2)
    return None
