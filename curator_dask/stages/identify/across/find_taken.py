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

A round has these tasks, which hand on rows and pairs in files::

    keep      a task for some clusters         which rows of theirs are kept
    new       one task                         which of them were never kept before
    near      a task per group of clusters     the pairs of a new row and a later one of another cluster
    taken     one task                         the rows that kept rows take, and the clusters where these are others than before

The client holds a line per cluster and task. The worker that does single tasks holds about three bytes per row, and the pairs of
all rounds. These are few: rows that are kept within a cluster are no near neighbours of each other, so few of them are near to
one row of another cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec
from curator_dask.stages.identify.across.standing import NewTask, StandTask, write_new, write_taken, write_taken_table
from curator_dask.stages.identify.across.worker import (
    KeepRule,
    KeepTask,
    NearTask,
    in_tasks,
    write_kept,
    write_near_rows,
)
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.workplace import Workplace


@dataclass
class Rounds:
    """The search.

    Attributes:
        place: where the tasks are done.
        clusters: all of them, with all of their rows.
        spec: how the clusters are compared; the files of border rows are written.
        dropped: what the filters drop; None where there are none.
    """

    place: Workplace
    clusters: Sequence[ClusterInput]
    spec: CrossClusterSpec
    eps: float
    dropped: DroppedRows | None
    kept: list[str] = field(default_factory=list)
    """The files with the kept rows of all rounds."""
    pairs: list[str] = field(default_factory=list)
    """The files with the pairs of all rounds."""

    def run(self, path: str) -> UnitResult:
        """Write the table of the rows that are removed, with the kept rows that remove them, to a file of the stage."""
        stand, changed = self._round(0, {cluster.number for cluster in self.clusters}, None)
        number = 1
        while changed:
            stand, changed = self._round(number, changed, stand.written)
            number += 1
        return self.place.each(write_taken_table, [replace(stand, written=path)])[0]

    def _round(self, number: int, changed: Collection[int], taken: str | None) -> tuple[StandTask, set[int]]:
        """Do one round; returns what tells the rows that are taken now, and the clusters that are to be decided again."""
        self._decide(number, changed, taken)
        stand = StandTask(
            self.place.folder, tuple(self.kept), tuple(self.pairs), taken, self.place.path("taken", number)
        )
        return stand, set(self.place.each(write_taken, [stand])[0])

    def _decide(self, number: int, changed: Collection[int], taken: str | None) -> None:
        """Decide these clusters, without the rows that are taken, and compare the rows that are newly kept."""
        some = [cluster for cluster in self.clusters if cluster.number in changed]
        name = f"kept-{number}"
        tasks = [KeepTask(one, self.place.path(name, at)) for at, one in enumerate(in_tasks(some))]
        rule = KeepRule(self.place.folder, taken, self.dropped, self.eps, self.spec.device)
        self.place.each(write_kept, tasks, rule)
        kept = [task.written for task in tasks]
        new = NewTask(self.place.folder, kept, list(self.kept), self.place.path("new", number))
        self.kept += kept
        if self.place.each(write_new, [new])[0]:
            self._compare(number, new.written)

    def _compare(self, number: int, new: str) -> None:
        """Find the near rows of the new ones."""
        name, folder = f"near-{number}", self.place.folder
        tasks = [NearTask(folder, one, new, self.place.path(name, one)) for one in range(len(self.spec.groups))]
        found = self.place.each(write_near_rows, tasks, self.spec, self.eps)
        self.pairs += [task.written for task, num_pairs in zip(tasks, found, strict=True) if num_pairs]
