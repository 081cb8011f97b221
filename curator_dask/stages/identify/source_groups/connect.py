"""Which sources are decided on together: those that overlaps join, directly or by way of others.

Workers join what each chunk of the overlaps tells, some chunks at a time, until one list is left: each source that has an
overlap, and the lowest number of all that it is joined with. That list is in the memory of one worker when it is made, some
hundred bytes per source with overlaps. Sources that belong together share a *group*, with others that share it by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.groups import connected_groups
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.workplace import Workplace

LISTS_AT_ONCE: Final = 16
"""So many lists are joined by one task."""
Nodes = NDArray[np.uint64]
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd number: its multiples spread labels, which are low numbers, over all groups."""


def write_links(folder: Folder, path: str, one: Nodes, other: Nodes) -> str:
    """Write the sources that some pairs join: each with the lowest one that it is joined with; returns the path."""
    import pyarrow as pa

    nodes, place = np.unique(np.concatenate([one, other]), return_inverse=True)
    lowest = connected_groups(len(nodes), [(place[: len(one)], place[len(one) :])]) if len(nodes) else place
    table = pa.table({"node": nodes, "label": nodes[lowest]})
    return write_shared(folder, path, table, np.zeros(len(nodes), np.int64), 1)


@dataclass(frozen=True)
class JoinTask:
    """Join some such lists."""

    paths: tuple[str, ...]
    written: str


def join_links(task: JoinTask, folder: Folder) -> str:
    """Write the list that they make together; returns its path."""
    found = read_shared(folder, task.paths, 0)
    nothing = np.zeros(0, np.uint64)
    ends = (nothing, nothing) if found is None else (found["node"].to_numpy(), found["label"].to_numpy())
    return write_links(folder, task.written, *ends)


def connect(place: Workplace, paths: Sequence[str]) -> str:
    """Join the lists of all chunks; returns the path of the one that is left."""
    step = 0
    paths = list(paths)
    while len(paths) != 1 or not step:
        starts = range(0, max(len(paths), 1), LISTS_AT_ONCE)
        tasks = [
            JoinTask(tuple(paths[start : start + LISTS_AT_ONCE]), place.path(f"joined-{step}", number))
            for number, start in enumerate(starts)
        ]
        paths, step = place.each(join_links, tasks, place.folder), step + 1
    return paths[0]


def labels_of(folder: Folder, path: str, nodes: Nodes) -> tuple[NDArray[np.bool_], Nodes]:
    """(n,) each: whether a node is in the list that `connect` made, and the lowest one that it is joined with, or itself."""
    found = read_shared(folder, [path], 0)
    if found is None:
        return np.zeros(len(nodes), np.bool_), nodes
    known, label = found["node"].to_numpy(), found["label"].to_numpy()
    at = np.minimum(np.searchsorted(known, nodes), len(known) - 1)
    there = known[at] == nodes
    return there, np.where(there, label[at], nodes)


@dataclass(frozen=True)
class Labels:
    """The groups of sources."""

    folder: Folder
    path: str
    """The list that `connect` made."""
    num_groups: int
    """A power of two."""

    def groups_of(self, nodes: Nodes) -> Indices:
        """(n,) the group of each source; -1 for one without overlaps."""
        known, label = labels_of(self.folder, self.path, nodes)
        return np.where(known, bucket_of(label * _SPREAD, self.num_groups), -1)
