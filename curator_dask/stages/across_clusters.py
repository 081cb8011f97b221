"""Decisions made cluster by cluster, joined where a similarity table names a row of another cluster.

The tables of the pairwise stage never do; those of the cross-cluster stage do. A row that went may then have its kept
twin in another cluster, and the greedy rule, which sees one cluster at a time, has left rows whose twin is in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curator_dask.dedup.decisions import connected_groups
from curator_dask.records import UnitRecord


@dataclass
class Decisions:
    """What the units of all clusters decided."""

    removed: dict[Any, dict[str, Any]] = field(default_factory=dict)
    """Id → its row of the table of duplicates."""
    kept: dict[Any, int] = field(default_factory=dict)
    """Id → cluster."""
    groups: list[list[Any]] = field(default_factory=list)
    """Ids of each group of duplicates, the one that stands for it first."""

    def counts(self) -> dict[str, int]:
        orphans = sum(row["kept_score"] < 1 - row["eps"] for row in self.removed.values())
        return {"kept": len(self.kept), "removed": len(self.removed), "orphans": orphans, "groups": len(self.groups)}

    def cluster_of(self, one: Any) -> int:
        return int(self.kept[one] if one in self.kept else self.removed[one]["cluster"])


def joined(records: Iterable[UnitRecord]) -> Decisions:
    """The decisions of all clusters, those that reach across clusters settled."""
    found = Decisions()
    across: list[dict[str, Any]] = []
    groups: list[tuple[int, list[Any]]] = []
    for record in records:
        data = record.data
        found.removed.update((row["id"], row) for row in data["removed"])
        found.kept.update(dict.fromkeys(data["kept"], data["cluster"]))
        groups.extend((data["cluster"], members) for members in data["groups"])
        across.extend(data["across"])
    _remove_twins(found, across)
    _name_nearest(found)
    # Sorting is stable: within a cluster the groups come in ranked order.
    found.groups = _joined_groups([members for _, members in sorted(groups, key=lambda group: group[0])], found)
    return found


def _remove_twins(found: Decisions, across: Sequence[dict[str, Any]]) -> None:
    """The greedy rule across clusters: a kept row goes for a kept row of another, unless another row goes for it."""
    if not across:
        return
    waiting = {row["id"]: row for row in across}
    needed = {row["kept_id"] for row in found.removed.values()}
    for start in sorted(waiting, key=str):
        path = [start]
        # What a row would go for is settled before it; the ranking over all clusters has no circles.
        while (ahead := waiting[path[-1]]["max_id"]) in waiting and ahead not in path:
            path.append(ahead)
        for one in reversed(path):
            row = waiting[one]
            if one in found.kept and one not in needed and row["max_id"] in found.kept:
                del found.kept[one]
                needed.add(row["max_id"])
                found.removed[one] = {**row, "kept_id": row["max_id"], "kept_score": row["cosine_sim_score"]}


def _name_nearest(found: Decisions) -> None:
    """The row that a score comes from may be nearer than all kept rows of the own cluster."""
    for row in found.removed.values():
        if row["cosine_sim_score"] > row["kept_score"] and row["max_id"] in found.kept:
            row["kept_id"], row["kept_score"] = row["max_id"], row["cosine_sim_score"]


def _joined_groups(groups: Sequence[list[Any]], found: Decisions) -> list[list[Any]]:
    """The groups, those made one that a removed row and what it went for are in; the first kept row of each in front.

    A joined group stands where the first of its parts stood.
    """
    parts = list(groups)
    place = {one: number for number, members in enumerate(parts) for one in members}
    links = []
    for row in sorted(found.removed.values(), key=lambda row: (row["cluster"], str(row["id"]))):
        ends = row["id"], row["max_id"]
        for one in ends:
            if one not in place:
                place[one] = len(parts)
                parts.append([one])
        links.append((place[ends[0]], place[ends[1]]))
    if not parts:
        return []
    i, j = np.array(links, dtype=np.int64).reshape(-1, 2).T
    members: dict[int, list[Any]] = {}
    for number, group in enumerate(connected_groups(len(parts), [(i, j)]).tolist()):
        members.setdefault(group, []).extend(parts[number])
    return [_kept_first(ids, found) for ids in members.values()]


def _kept_first(ids: list[Any], found: Decisions) -> list[Any]:
    first = next((one for one in ids if one in found.kept), ids[0])
    return [first, *(one for one in ids if one != first)]
