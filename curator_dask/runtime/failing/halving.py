"""Find the part of a unit that kills its worker: try fewer and fewer parts, as a dead worker cannot say what killed it.

::

    parts a b c d, and c kills      tried      dies
                                    a b        no
                                    c d        yes
                                    c          yes → c is deadly
                                    d          no
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

MOST_DEADLY = 4
"""Where more parts than this kill, it is hardly the parts: the others are not tried, so that the deaths come to an end."""


class Halving:
    """Which parts to set aside in the next try of one unit, from what came of the tries before."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = tuple(parts)
        self._groups = deque(_halves(self._parts))
        self.deadly: set[str] = set()

    def aside(self) -> frozenset[str] | None:
        """The parts to leave out of the next try; None where the deadly ones are known."""
        return frozenset(self._parts) - set(self._groups[0]) if self._groups else None

    def tell(self, *, survived: bool) -> None:
        """What came of the try."""
        group = self._groups.popleft()
        if survived:
            return
        if len(group) > 1:
            self._groups.extendleft(reversed(_halves(group)))
            return
        self.deadly.update(group)
        if len(self.deadly) >= MOST_DEADLY:
            self.deadly.update(part for untried in self._groups for part in untried)
            self._groups.clear()


def _halves(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    middle = (len(parts) + 1) // 2
    return [half for half in (parts[:middle], parts[middle:]) if half]
