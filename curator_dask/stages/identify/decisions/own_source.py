"""Find source videos that lose most of their clips to clips of the same video, and say what to do about it.

That is right for a video that shows the same picture all the time, and wrong for a still camera before which things happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.names import counted
from curator_dask.stages.identify.decisions.join_decisions import Decisions

BLOCK_ROWS = 1 << 20
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


def warn_of_emptied_sources(decisions: Decisions, sources: Sources) -> tuple[int, tuple[str, ...]]:
    """How many sources lose over half of their rows to kept rows of the same source, and a warning if there are some."""
    codes = sources.code
    rows = np.flatnonzero(decisions.removed & (codes >= 0))
    kept_rows = decisions.kept_row[rows]
    known = (kept_rows >= 0) & (kept_rows < len(codes))
    rows, kept_rows = rows[known], kept_rows[known]
    own = codes[rows] == codes[kept_rows]
    num_rows = _count(codes, len(sources.names))
    lost = np.bincount(codes[rows[own]], minlength=len(sources.names))
    emptied = np.flatnonzero(2 * lost > num_rows)
    if not len(emptied):
        return 0, ()
    worst = int(emptied[np.lexsort((emptied, -lost[emptied]))[0]])
    found = EmptiedSources(len(emptied), sources.names[worst], int(lost[worst]), int(num_rows[worst]))
    return found.number, (found.warning(decisions.rule),)


def _count(codes: NDArray[Any], num_names: int) -> NDArray[np.int64]:
    """How many rows each source has. Rows are counted some at a time, as NumPy copies them for that."""
    found = np.zeros(num_names, np.int64)
    for rows in row_blocks(len(codes), max(BLOCK_ROWS, num_names)):
        some = codes[rows]
        found += np.bincount(some[some >= 0], minlength=num_names)
    return found
