"""Decisions made cluster by cluster, joined where a similarity table names a row of another cluster.

The tables of the pairwise stage never do; those of the cross-cluster stage do. A row that went may then have its kept
twin in another cluster, and the greedy rule, which sees one cluster at a time, has left rows whose twin is in another.

All rows of all clusters are here at once, so they are held in Arrow and NumPy, not as Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.dedup.decide.decisions import connected_groups
from curator_dask.dedup.decide.rules import Rule
from curator_dask.errors import InputError
from curator_dask.runtime.records import UnitRecord
from curator_dask.stages.identify.decision_table import no_rows, unpacked

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Decisions:
    """What was decided on all rows, by cluster and rank.

    Attributes:
        ids, max_ids, kept_ids: N each; the last two of removed rows, null elsewhere.
        cluster: (N,) int64.
        removed: (N,) bool.
        cosine, kept_score: (N,) float32, of removed rows.
        group: (N,) int64, the lowest row of the group of duplicates of each row; itself where it is in none.
    """

    ids: pa.ChunkedArray
    max_ids: pa.ChunkedArray
    kept_ids: pa.ChunkedArray
    cluster: NDArray[np.int64]
    removed: NDArray[np.bool_]
    cosine: NDArray[np.float32]
    kept_score: NDArray[np.float32]
    group: Indices
    rule: Rule

    def counts(self) -> dict[str, int]:
        """Orphans are removed rows without a kept row within eps."""
        num_removed = int(self.removed.sum())
        orphans = self.removed & (self.kept_score.astype(np.float64) < 1 - self.rule.eps)
        return {
            "kept": len(self.removed) - num_removed,
            "removed": num_removed,
            "orphans": int(orphans.sum()),
            "groups": int((np.bincount(self.group) > 1).sum()) if len(self.group) else 0,
        }

    def grouped(self) -> tuple[Indices, Indices]:
        """The rows that are in groups, group by group, the first kept one of each in front; and the first of each's group."""
        sizes = np.bincount(self.group, minlength=len(self.group))
        rows = np.flatnonzero(sizes[self.group] > 1)
        group = self.group[rows]
        kept = rows[~self.removed[rows]]
        behind = np.ones(len(self.group), np.bool_)
        behind[kept[np.unique(self.group[kept], return_index=True)[1]]] = False
        order = np.lexsort((rows, behind[rows], group))
        rows, group = rows[order], group[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        return rows, np.repeat(rows[starts], np.diff(starts, append=len(rows)))

    def rows_of(self, ids: pa.ChunkedArray) -> Indices:
        """The rows with these ids; -1 for none."""
        import pyarrow.compute as pc

        found = pc.index_in(ids, value_set=self.ids)
        rows: Indices = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        return rows


def joined(records: Iterable[UnitRecord], rule: Rule) -> Decisions:
    """The decisions of all clusters, those that reach across clusters settled.

    Raises InputError where a row went for one that is in no cluster.
    """
    import pyarrow as pa

    found, rows = _together(records, rule)
    ahead = found.rows_of(found.max_ids.take(pa.array(rows)))
    if (ahead < 0).any():
        lost = found.max_ids[int(rows[np.argmin(ahead)])].as_py()
        raise InputError(f"a similarity table names {lost!r}, which is in no cluster: run the pairwise stage again")
    if rule.name == "greedy":
        _remove_twins(found, dict(zip(rows.tolist(), ahead.tolist(), strict=True)))
    _name_nearest(found)
    linked = found.removed[rows]
    if linked.any():
        own = np.arange(len(found.group)), found.group
        found.group = connected_groups(len(found.group), [own, (rows[linked], ahead[linked])])
    return found


def _together(records: Iterable[UnitRecord], rule: Rule) -> tuple[Decisions, Indices]:
    """The tables of all clusters as one, and the rows that have a duplicate in another cluster."""
    import pyarrow as pa

    tables = sorted(map(unpacked, records), key=lambda table: table["cluster"][0].as_py())
    starts = np.cumsum([0, *map(len, tables)])
    table = pa.concat_tables(tables or [no_rows()], promote_options="permissive")
    names = ("cluster", "removed", "cosine_sim_score", "kept_score", "group", "foreign")
    cluster, removed, cosine, kept_score, group, foreign = (table[name].to_numpy() for name in names)
    ids, max_ids, kept_ids = (_long(table[name]) for name in ("id", "max_id", "kept_id"))
    group = group + np.repeat(starts[:-1], np.diff(starts))
    found = Decisions(ids, max_ids, kept_ids, cluster, removed.copy(), cosine, kept_score.copy(), group, rule)
    return found, np.flatnonzero(foreign)


def _long(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of all clusters together may be longer than 2 GiB."""
    import pyarrow as pa

    return ids.cast(pa.large_string()) if pa.types.is_string(ids.type) else ids


def _remove_twins(found: Decisions, waiting: dict[int, int]) -> None:
    """The greedy rule across clusters: a kept row goes for a kept row of another, unless another row goes for it.

    `waiting`: rows with the row of another cluster that each would go for.
    """
    import pyarrow as pa

    if not waiting:
        return
    needed = np.zeros(len(found.removed), np.bool_)
    stands = found.rows_of(found.kept_ids.filter(pa.array(found.removed)))
    needed[stands[stands >= 0]] = True
    names = found.ids.take(pa.array(list(waiting))).to_pylist()
    pairs: list[tuple[int, int]] = []
    for _, start in sorted(zip(map(str, names), waiting, strict=True)):
        path = [start]
        seen = {start}
        # What a row would go for is settled before it; the ranking over all clusters has no circles.
        while (ahead := waiting[path[-1]]) in waiting and ahead not in seen:
            path.append(ahead)
            seen.add(ahead)
        for one in reversed(path):
            twin = waiting[one]
            if not found.removed[one] and not needed[one] and not found.removed[twin]:
                found.removed[one] = needed[twin] = True
                pairs.append((one, twin))
    _stand_for(found, pairs)


def _name_nearest(found: Decisions) -> None:
    """The row that a score comes from may be nearer than all kept rows of the own cluster."""
    import pyarrow as pa

    rows = np.flatnonzero(found.removed & (found.cosine > found.kept_score))
    best = found.rows_of(found.max_ids.take(pa.array(rows)))
    good = (best >= 0) & ~found.removed[best]
    _stand_for(found, zip(rows[good].tolist(), best[good].tolist(), strict=True))


def _stand_for(found: Decisions, pairs: Iterable[tuple[int, int]]) -> None:
    """Name the second row of each pair as the kept one nearest to the first, which is the one that its score comes from."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = list(pairs)
    if not pairs:
        return
    rows, twins = np.array(pairs).T
    source = np.full(len(found.removed), -1)
    source[rows] = twins
    chosen = found.ids.take(pa.array(np.maximum(source, 0)))
    found.kept_ids = pc.if_else(pa.array(source >= 0), chosen, found.kept_ids)
    found.kept_score[rows] = found.cosine[rows]
