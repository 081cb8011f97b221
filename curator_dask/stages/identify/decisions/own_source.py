"""Find source videos that lose most of their clips to clips of the same video, and say what to do about it.

That is right for a video that shows the same picture all the time, and wrong for a still camera before which things happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.names import counted

STRICTER = {"pairwise": "a lower --eps", "greedy": "a lower --eps", "overlap": "a higher --min-cover"}


class Sources(NamedTuple):
    """The sources of N rows."""

    code: NDArray[Any]
    """(N,) the place of each one in `names`; -1 where it is not known."""
    names: Sequence[str]


class EmptiedSources(NamedTuple):
    """Sources that lose over half of their rows to kept rows of the same source."""

    number: int
    worst: str
    """The one that loses most; of several the first one."""
    num_lost: int
    num_rows: int
    """Those of the worst one."""

    def warning(self, rule: Rule) -> str:
        """What a user should know of them."""
        lose, their = ("lose", "their") if self.number != 1 else ("loses", "its")
        remedy = "" if rule.scope == "same" else "--scope cross, or "
        return (
            f"{counted(self.number, 'source videos')} {lose} over half of {their} clips to clips of the same video, for "
            f"example {self.worst} ({self.num_lost:,} of {self.num_rows:,}). If these show different "
            f"moments, keep them with {remedy}{STRICTER[rule.name]}"
        )
