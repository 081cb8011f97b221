"""Rows by their places: among all rows of a cluster, and among those that the filters leave.

Clusters are compared with all of their rows, as the cross-cluster stage compared them; those that the filters drop take no
part. Decisions are made on the rows that are left::

    all rows     0  1  2  3  4
    dropped         x     x
    those left   0     1     2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.stages.identify.across.find_taken import Masks
from curator_dask.stages.identify.decisions.dropped import DroppedClips, row_ids

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RowsLeft:
    """All clusters, and which of their rows are left."""

    clusters: Sequence[ClusterInput]
    stay: Masks
    """Cluster → (N,) of all its rows, in ranked order."""

    @classmethod
    def of(cls, every: Sequence[ClusterInput], left: Sequence[ClusterInput], dropped: DroppedClips) -> RowsLeft:
        """Of all clusters, and of those that have rows left, whose versions say what was dropped."""
        version_of = {cluster.number: cluster.version for cluster in left}
        stay = {one.number: dropped.stay(ids) for one, ids in zip(every, row_ids(every), strict=True)}
        return cls([replace(one, version=version_of.get(one.number, "")) for one in every], stay)

    def gone_of_all(self, gone: Masks) -> Masks:
        """The rows of all that take no part: the dropped ones, and those of the rest that are gone anyway."""
        return {number: self._spread(number, gone.get(number)) for number in self.stay}

    def _spread(self, number: int, gone: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        mask = ~self.stay[number]
        if gone is not None:
            mask[self.stay[number]] = gone
        return mask

    def taken_of_left(self, taken: pa.Table) -> pa.Table:
        """The table of taken rows by their places among the rows left; without dropped rows."""
        import pyarrow as pa

        numbers = np.array(sorted(self.stay))
        starts = np.cumsum([0, *(len(self.stay[number]) for number in numbers.tolist())])[:-1]
        every = np.concatenate([self.stay[number] for number in numbers.tolist()])
        places = np.concatenate([np.cumsum(self.stay[number]) - 1 for number in numbers.tolist()])

        def row(cluster: str, place: str) -> NDArray[np.int64]:
            at: NDArray[np.int64] = (
                starts[np.searchsorted(numbers, taken[cluster].to_numpy())] + taken[place].to_numpy()
            )
            return at

        rows, kept = row("cluster", "place"), row("kept_cluster", "kept_place")
        moved = taken.set_column(1, "place", pa.array(places[rows])).set_column(3, "kept_place", pa.array(places[kept]))
        return moved.filter(pa.array(every[rows]))
