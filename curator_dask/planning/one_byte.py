"""How much of the time of products within clusters is left where products of one-byte numbers leave most pairs out."""

from __future__ import annotations

from typing import Final

from curator_dask.dedup.similarity.screen import is_large
from curator_dask.planning.run_size import RunSize
from curator_dask.stages.pairwise.cut_clusters import CUT_ROWS

SHARES: Final = ((10_000, 0.55), (5_000, 0.57), (2_048, 0.70), (1_536, 0.73), (0, 0.89))
"""From so many rows of a cluster on → the share of the processor time that is left: the largest one that was measured for as
many rows or more (512 numbers per row, pairwise_2_cores.md)."""
SHARE_OF_CUT: Final = 0.63
"""The same for a cluster that is cut into parts. One of 50,000 rows took the whole stage 17.1 core seconds, and with one-byte
products 10.8."""


def share_left(size: RunSize) -> float:
    """The share of the time of float32 products within clusters that CPU workers take; 1 where they use no others.

    >>> share_left(RunSize(clips=1e6)), share_left(RunSize(clips=1e7)), share_left(RunSize(clips=1e8))
    (0.89, 0.55, 0.63)
    """
    rows = size.clips / size.num_clusters
    if not is_large(int(rows), size.dim):
        return 1.0
    if rows > CUT_ROWS:
        return SHARE_OF_CUT
    return next(share for least_rows, share in SHARES if rows >= least_rows)
