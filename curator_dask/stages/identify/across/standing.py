"""What a round of the greedy rule over all clusters comes to: which pairs stand, and which rows they take. It runs on one worker.

That worker holds the pairs of all rounds, and about three bytes per row of all clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import RowSet
from curator_dask.files.buckets.shared import shared_batches, write_shared
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.cross_cluster.near_rows import NearRows
from curator_dask.stages.identify.across.row_sets import read_row_sets, write_row_sets
from curator_dask.stages.identify.decisions.decision_table import write_unit_table

if TYPE_CHECKING:
    import pyarrow as pa


def write_pairs(folder: Folder, path: str, pairs: NearRows) -> None:
    """Write pairs to a file."""
    import pyarrow as pa

    table = pa.table({one.name: getattr(pairs, one.name) for one in fields(pairs)})
    write_shared(folder, path, table, np.zeros(len(table), np.int64), 1)


def read_pairs(folder: Folder, paths: Iterable[str]) -> NearRows:
    """The pairs in files."""
    names = [one.name for one in fields(NearRows)]
    return NearRows.joined(
        [NearRows(*(batch[name].to_numpy() for name in names)) for batch in shared_batches(folder, paths, 0)]
    )


@dataclass(frozen=True)
class NewTask:
    """Write which rows were never kept before this round."""

    folder: Folder
    kept: Sequence[str]
    """The files with the kept rows of the clusters that this round decided."""
    before: Sequence[str]
    """Those of all earlier rounds."""
    written: str
    """The file to write. It tells of all clusters."""


def write_new(task: NewTask) -> bool:
    """Write these rows; returns whether there are any."""
    new = {number: rows.mask() for number, rows in read_row_sets(task.folder, task.kept).items()}
    for path in task.before:
        for number, rows in read_row_sets(task.folder, [path]).items():
            new[number] = new[number] & ~rows.mask() if number in new else np.zeros(rows.num_rows, np.bool_)
    write_row_sets(task.folder, task.written, {number: RowSet.of(mask) for number, mask in new.items()})
    return any(mask.any() for mask in new.values())


@dataclass(frozen=True)
class StandTask:
    """Find the rows that pairs take whose earlier row is kept now."""

    folder: Folder
    kept: Sequence[str]
    """The files with the kept rows of all rounds, in their order."""
    pairs: Sequence[str]
    """The files with the pairs of all rounds."""
    before: str | None
    """The file with the rows that were taken after the round before; None: none were."""
    written: str
    """The file to write."""

    def stand(self) -> tuple[AllRows, NearRows]:
        """All rows, and the pairs that stand."""
        rows = AllRows.of(read_row_sets(self.folder, self.kept))
        pairs = read_pairs(self.folder, self.pairs)
        return rows, pairs.take(rows.chosen[rows.at(pairs.kept_cluster, pairs.kept_place)])


@dataclass(frozen=True)
class AllRows:
    """The rows of all clusters, one cluster after the other."""

    numbers: NDArray[np.int64]
    """The clusters, ascending."""
    starts: NDArray[np.int64]
    """The first row of each."""
    chosen: NDArray[np.bool_]
    """(N,) some of the rows."""

    @classmethod
    def of(cls, sets: dict[int, RowSet]) -> AllRows:
        numbers = sorted(sets)
        starts = np.cumsum([0, *(sets[number].num_rows for number in numbers)])[:-1]
        return cls(np.array(numbers), starts, np.concatenate([sets[number].mask() for number in numbers]))

    def at(self, cluster: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows at some places of clusters."""
        found: NDArray[np.int64] = self.starts[np.searchsorted(self.numbers, cluster)] + place
        return found

    def sets(self, rows: NDArray[np.int64]) -> dict[int, RowSet]:
        """Cluster → those of its rows that are among some."""
        every = np.zeros(len(self.chosen), np.bool_)
        every[rows] = True
        masks = np.split(every, self.starts[1:])
        return {number: RowSet.of(mask) for number, mask in zip(self.numbers.tolist(), masks, strict=True)}


def write_taken(task: StandTask) -> list[int]:
    """Write the rows of all clusters that are taken now; returns the clusters of which these are others than before."""
    rows, pairs = task.stand()
    taken = rows.sets(rows.at(pairs.cluster, pairs.place))
    write_row_sets(task.folder, task.written, taken)
    if task.before is None:
        return [number for number, some in taken.items() if some]
    before = read_row_sets(task.folder, [task.before])
    return [number for number, some in taken.items() if some != before[number]]


def write_taken_table(task: StandTask) -> UnitResult:
    """Write `taken_table` of the pairs that stand."""
    table = taken_table(task.stand()[1])
    return write_unit_table(task.folder, task.written, table, {"taken": len(table)})


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
