"""The order in which the rule ``overlap`` takes clips: source by source, so that a copy cut at other places does not
leave half of itself behind.

::

    video   0────A1────10────A2────20────A3────30
    copy         4────B1────14────B2────24────B3────34

If single clips were ranked, A1, B2 and A3 might come first; none of the others is covered to 80 % by these, and nearly all
seconds would be kept twice. With the video first, A1, A2 and A3 stay, and B1 and B2 go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.dedup.ranking.strategy import DISTANCE_COLUMNS, RankingStrategy, is_null, ranking_codes

TOTAL_LENGTH: Final = "total length"


@dataclass(frozen=True)
class SourceClips:
    """N clips and S sources."""

    source: Indices
    """(N,) the source of each clip."""
    names: Any
    """(S,) the names of the sources."""
    start: Indices
    """(N,) where each clip begins in its source, in microseconds."""
    length: Indices
    """(N,) microseconds."""
    tie: Indices
    """(N,) which clip comes first of those with the same source and start."""


def order_by_source(clips: SourceClips, columns: Mapping[str, Any], strategy: RankingStrategy) -> Indices:
    """(N,) the clips in order of preference: source by source, and within a source by start.

    Sources are ranked by the columns of the ranking, each summed over the clips of a source; then longer sources come
    first; then the name decides. Values that cannot be added, such as text, count by the one that ranks first. Where the
    ranking is by distances to centroids, longer sources come first: distances do not tell which copy is the better one,
    and a copy that begins later or ends earlier would leave the rest of its original behind as a second video.

    >>> clips = SourceClips(np.array([0, 1, 1]), ["a", "b"], np.array([0, 9, 0]), np.array([9, 9, 9]), np.arange(3))
    >>> order_by_source(clips, {"pixels": [500, 200, 400]}, RankingStrategy.metadata_based(["pixels"], False)).tolist()
    [2, 1, 0]

    Args:
        columns: (N,) the columns that `strategy` ranks by, by name.
    """
    place = np.empty(len(clips.names), np.int64)
    place[_ranked_sources(clips, columns, strategy)] = np.arange(len(clips.names))
    return np.lexsort((clips.tie, clips.start, place[clips.source]))


def _ranked_sources(clips: SourceClips, columns: Mapping[str, Any], strategy: RankingStrategy) -> Indices:
    if strategy.strategy == "random":
        return replace(strategy, id_ascending=True).rank({}, clips.names)
    sums: dict[str, Any] = {}
    ascends: list[bool] = []
    directions: Any = strategy.ascending
    for name, ascending in zip(strategy.metadata_cols, directions, strict=True):
        values = np.asarray(columns[name])
        if values.dtype.kind in "biuf":
            sums[name] = _summed(values.astype(np.float64), clips)
            ascends.append(ascending)
        else:
            sums[name] = _first_of(ranking_codes(values, name, ascending), clips)
            ascends.append(True)
    sums[TOTAL_LENGTH] = _summed(clips.length.astype(np.float64), clips)
    keys = [*zip(strategy.metadata_cols, ascends, strict=True), (TOTAL_LENGTH, False)]
    if set(strategy.metadata_cols) <= set(DISTANCE_COLUMNS.values()):
        keys = [keys[-1], *keys[:-1]]
    return RankingStrategy.metadata_based(*map(list, zip(*keys, strict=True))).rank(sums, clips.names)


def _summed(values: NDArray[np.float64], clips: SourceClips) -> NDArray[np.float64]:
    """(S,) sums over the clips of each source. A null adds nothing; the sum of nothing but nulls is one."""
    known = ~is_null(values)
    num_sources = len(clips.names)
    sums: NDArray[np.float64] = np.bincount(clips.source[known], values[known], num_sources).astype(np.float64)
    sums[np.bincount(clips.source[known], minlength=num_sources) == 0] = np.nan
    return sums


def _first_of(codes: NDArray[np.int64], clips: SourceClips) -> Indices:
    """(S,) the lowest code of each source."""
    lowest = np.full(len(clips.names), len(codes), np.int64)
    np.minimum.at(lowest, clips.source, codes)
    return lowest
