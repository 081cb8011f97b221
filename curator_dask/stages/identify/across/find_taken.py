"""The greedy rule over all clusters: find the rows that a kept row of another cluster removes.

Greedy means: go through all rows in their ranking, and remove each that has a kept row before it within eps. Clusters are
decided beside each other, so it takes rounds. Each cluster is decided by itself; the kept rows of all are compared with
the rows of other clusters that may have to go; the clusters that lose rows to them are decided again, and so on, until
nothing changes::

    cluster 0   A                 round 1: A, B and D are kept, C is removed with B as its kept row
    cluster 1   B → A,  C → B     round 2: A takes B, so C is kept, and is compared with the rows of other clusters
    cluster 2   D → C             round 3: C takes D; nothing changes any more

What is left is what one pass over all rows would leave, over the pairs that were compared: after each round, at least one
more row in the ranking is settled for good, and in practice nearly all are settled after two or three.

Rows that are kept within a cluster are no near neighbours of each other, so few of them are near to one row, and the
pairs of all rounds fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.runtime.waiting import gather, hold
from curator_dask.stages.cross_cluster.near_rows import NearRows, near_rows_of_group
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec, GroupTask
from curator_dask.stages.identify.across.worker import keep_rows

if TYPE_CHECKING:
    import pyarrow as pa

Masks = dict[int, NDArray[np.bool_]]
"""Cluster → (N,) its rows in ranked order."""


@dataclass
class Rounds:
    """The state of the search.

    Attributes:
        client: of Dask. say: hears of it if there are no workers.
        spec: how the clusters are compared; the files of border rows are written.
    """

    client: Any
    say: Callable[[str], None]
    clusters: Sequence[ClusterInput]
    spec: CrossClusterSpec
    eps: float
    gone: Masks = field(default_factory=dict)
    """Rows that are removed anyway; empty: none."""
    kept: Masks = field(default_factory=dict)
    compared: Masks = field(default_factory=dict)
    """Rows whose near rows in other clusters are known."""
    pairs: NearRows = field(default_factory=lambda: NearRows.joined([]))

    def run(self) -> NearRows:
        """The pairs of a kept row and a later row of another cluster within eps; the later rows are removed."""
        self._decide(dict.fromkeys([cluster.number for cluster in self.clusters]))
        self.compared = {number: np.zeros(len(kept), np.bool_) for number, kept in self.kept.items()}
        taken = self.compared
        while True:
            self._compare()
            standing = self._standing()
            now = self._mark(standing.cluster, standing.place)
            changed = {number: mask for number, mask in now.items() if not np.array_equal(mask, taken[number])}
            if not changed:
                return standing
            self._decide(changed)
            taken = now

    def _decide(self, taken: dict[int, Any]) -> None:
        """Decide these clusters, without the rows that are taken."""
        some = [
            (cluster, self._or_gone(cluster.number, taken[cluster.number]))
            for cluster in self.clusters
            if cluster.number in taken
        ]
        futures = self.client.map(keep_rows, some, pure=False, eps=self.eps, device=self.spec.device)
        found = gather(self.client, futures, self.say)
        self.kept |= {cluster.number: kept for (cluster, _), kept in zip(some, found, strict=True)}

    def _or_gone(self, number: int, taken: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        gone = self.gone.get(number)
        return gone if taken is None else taken if gone is None else taken | gone

    def _compare(self) -> None:
        """Find the near rows of those kept rows that were not compared yet."""
        new = {number: kept & ~self.compared[number] for number, kept in self.kept.items()}
        if not any(mask.any() for mask in new.values()):
            return
        tasks = [GroupTask(self.spec, group) for group in range(len(self.spec.groups))]
        held = hold(self.client, new)
        futures = self.client.map(near_rows_of_group, tasks, pure=False, eps=self.eps, kept=held)
        self.pairs = NearRows.joined([self.pairs, *gather(self.client, futures, self.say)])
        self.compared = {number: self.compared[number] | mask for number, mask in new.items()}

    def _standing(self) -> NearRows:
        """The pairs whose earlier row is kept now."""
        numbers, starts = self._starts()
        row = starts[np.searchsorted(numbers, self.pairs.kept_cluster)] + self.pairs.kept_place
        return self.pairs.take(np.concatenate([self.kept[number] for number in numbers.tolist()])[row])

    def _starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the clusters, ascending, and the first row of each where all lie one after the other."""
        numbers = np.array(sorted(self.kept))
        return numbers, np.cumsum([0, *(len(self.kept[number]) for number in numbers[:-1].tolist())])

    def _mark(self, cluster: NDArray[np.int64], place: NDArray[np.int64]) -> Masks:
        """The masks of all clusters with these rows chosen."""
        numbers, starts = self._starts()
        every = np.zeros(sum(map(len, self.kept.values())), np.bool_)
        every[starts[np.searchsorted(numbers, cluster)] + place] = True
        return dict(zip(numbers.tolist(), np.split(every, starts[1:]), strict=True))


def taken_table(pairs: NearRows) -> pa.Table:
    """One line per row that kept rows of other clusters remove, with the nearest of them, the earliest cluster on ties."""
    import pyarrow as pa

    order = np.lexsort((pairs.kept_place, pairs.kept_cluster, -pairs.cosine, pairs.place, pairs.cluster))
    cluster, place = pairs.cluster[order], pairs.place[order]
    first = (np.diff(cluster, prepend=-1) != 0) | (np.diff(place, prepend=-1) != 0)
    best = pairs.take(order[first])
    return pa.table(
        {
            "cluster": best.cluster,
            "place": best.place,
            "kept_cluster": best.kept_cluster,
            "kept_place": best.kept_place,
            "cosine": best.cosine,
        }
    )


def places_taken(table: pa.Table | None, cluster: int) -> tuple[int, ...]:
    """The places of the rows of a cluster in such a table, which is sorted by clusters."""
    if table is None:
        return ()
    start, stop = np.searchsorted(table["cluster"].to_numpy(), [cluster, cluster + 1]).tolist()
    places: list[int] = table["place"].slice(start, stop - start).to_pylist()
    return tuple(places)
