"""Decide on a group for good, on a worker, and write what the parts need to know: decisions, named clips, groups, sources.

Groups of duplicates have numbers among all, in the order of their lowest rows. So their lowest rows are counted part by
part, and what a group of sources wrote of its members gets numbers in a second step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.count_sources import write_counts
from curator_dask.stages.identify.overlap.decide_clips import DecidedClips
from curator_dask.stages.identify.source_groups.decide_group import GroupClips, Groups, read_group
from curator_dask.stages.identify.source_groups.rows import STAYING
from curator_dask.stages.identify.source_groups.rows_of_groups import UNKNOWN_LINE

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Everywhere:
    """What the last step of all groups has in common."""

    min_strength: int
    firsts: Indices
    """(P,) the first row of each part."""
    keep: Indices
    """Rows that a person keeps, ascending."""
    remove: Indices
    """Rows that a person removes, ascending."""
    num_buckets: int
    """Buckets of the files that count the rows of sources."""

    def part_of(self, rows: Indices) -> Indices:
        """The part of each row."""
        found: Indices = np.searchsorted(self.firsts, rows, side="right") - 1
        return found


@dataclass(frozen=True)
class ResultTask:
    """Write what was decided on one group. The paths are those of the files to write."""

    number: int
    rows: str
    """By row that goes: what it goes for, in buckets by part."""
    named: str
    """The clips that rows of a part name, in buckets by part."""
    members: str
    """By member of a group of duplicates: its lowest row and its leader."""
    roots: str
    """The lowest rows of these groups, in buckets by part."""
    counts: str
    """The rows of each source, and those that it loses to itself."""


def write_results(task: ResultTask, groups: Groups, everywhere: Everywhere) -> None:
    """Decide on a group, and write all that."""
    import pyarrow as pa

    group = read_group(groups, task.number)
    if group is None:
        for path in (task.rows, task.named, task.members, task.roots, task.counts):
            write_shared(groups.folder, path, _nothing(), np.zeros(0, np.int64), _most(everywhere, path, task))
        return
    results = GroupResults(group, group.clips.decide(everywhere.min_strength), everywhere)
    write, num_parts = groups.folder, len(everywhere.firsts)
    rows, named, members = results.rows(), results.named(), results.members()
    write_shared(write, task.rows, rows, everywhere.part_of(rows["row"].to_numpy()), num_parts)
    write_shared(write, task.named, named.drop_columns(["part"]), named["part"].to_numpy(), num_parts)
    write_shared(write, task.members, members, np.zeros(len(members), np.int64), 1)
    roots = np.unique(members["root"].to_numpy())
    write_shared(write, task.roots, pa.table({"root": roots}), everywhere.part_of(roots), num_parts)
    write_counts(write, task.counts, results.counts(), everywhere.num_buckets)


def _nothing() -> pa.Table:
    import pyarrow as pa

    return pa.table({"row": np.zeros(0, np.int64)})


def _most(everywhere: Everywhere, path: str, task: ResultTask) -> int:
    """How many buckets a file has."""
    if path == task.members:
        return 1
    return everywhere.num_buckets if path == task.counts else len(everywhere.firsts)


@dataclass(frozen=True)
class GroupResults:
    """The tables of one group of sources."""

    group: GroupClips
    decided: DecidedClips
    everywhere: Everywhere

    @property
    def _row(self) -> Indices:
        row: Indices = self.group.rows["row"].to_numpy()
        return row

    @cached_property
    def _gone(self) -> Indices:
        """The places of the rows that go by the rule."""
        return np.flatnonzero(self.decided.removed)

    def _all_kept(self) -> tuple[Indices, Indices]:
        """(R + 1,) where the kept clips of each row that goes begin, and these, by place."""
        first = self.decided.covers.first
        counts = np.diff(first)[self._gone]
        return np.concatenate([[0], np.cumsum(counts)]), self.decided.covers.kept  # kept rows have none of their own

    def rows(self) -> pa.Table:
        """By row that goes: ``kept``, ``kept_score``, ``share``, ``offset_s``, ``kind`` and ``all_kept``."""
        import pyarrow as pa

        gone, numbers = self._gone, self.group.numbers
        share, offset_s, kind = self.decided.covered()
        first, kept = self._all_kept()
        return pa.table(
            {
                "row": self._row[gone],
                "kept": numbers[self.decided.kept[gone]],
                "kept_score": (self.decided.strength[gone] / 1000).astype(np.float32),
                "share": share[gone],
                "offset_s": offset_s[gone],
                "kind": kind.take(pa.array(gone)),
                "all_kept": pa.LargeListArray.from_arrays(pa.array(first), pa.array(numbers[kept])),
            }
        )

    @cached_property
    def _root(self) -> Indices:
        """(n,) the place of the lowest row of the group of duplicates that each row is in."""
        root: Indices = self.decided.groups(np.int64)
        return root

    @cached_property
    def _members(self) -> Indices:
        follows = self._root != np.arange(len(self._root))
        in_group = follows.copy()
        in_group[self._root[follows]] = True
        return np.flatnonzero(in_group)

    @cached_property
    def _leader(self) -> Indices:
        """(n,) by lowest row: the first kept row of the group, if there is one, else the lowest."""
        leader = np.arange(len(self._root))
        kept = self._members[~self._removed[self._members]]
        leader[self._root[kept][::-1]] = kept[::-1]  # the last one that is written stays: the first kept row
        return leader

    @cached_property
    def _removed(self) -> NDArray[np.bool_]:
        """(n,) which rows go, with what a person decided."""
        removed = self.decided.removed.copy()
        removed[np.isin(self._row, self.everywhere.keep)] = False
        removed[np.isin(self._row, self.everywhere.remove)] = True
        return removed

    def members(self) -> pa.Table:
        """By member of a group of duplicates: ``row``, ``root`` and ``leader``."""
        import pyarrow as pa

        root = self._root[self._members]
        return pa.table(
            {"row": self._row[self._members], "root": self._row[root], "leader": self._row[self._leader[root]]}
        )

    def named(self) -> pa.Table:
        """By part, the clips that its rows name: ``part``, ``clip``, its ``line``, and the ``text`` of one that stays."""
        import pyarrow as pa

        first, kept = self._all_kept()
        by = np.concatenate([np.repeat(self._gone, np.diff(first)), self._members])
        of = np.concatenate([kept, self._leader[self._root[self._members]]])
        pairs = np.unique(np.stack([self.everywhere.part_of(self._row[by]), of]), axis=1)
        part, place = pairs
        clip = self.group.numbers[place]
        is_row = place < len(self._row)
        line = np.where(is_row, self.group.rows["line"].to_numpy()[np.where(is_row, place, 0)], -1)
        texts = [self.group.texts[one] if one >= STAYING else None for one in clip.tolist()]
        return pa.table({"part": part, "clip": clip, "line": line, "text": pa.array(texts, pa.large_string())})

    def asked(self) -> pa.Table:
        """``row`` and ``part``: the rows that copies go for, and the parts where these are, each pair once."""
        import pyarrow as pa

        first, kept = self._all_kept()
        copy = np.repeat(self._gone, np.diff(first))
        is_row = kept < len(self._row)
        pairs = np.stack([self._row[kept[is_row]], self.everywhere.part_of(self._row[copy[is_row]])])
        row, part = np.unique(pairs, axis=1)
        return pa.table({"row": row, "part": part})

    def counts(self) -> pa.Table:
        """``source``, ``rows``, ``lost`` (to kept rows of the same source) and ``line`` (the first one) of the sources."""
        import pyarrow as pa

        rows, spans = self.group.rows, self.group.clips.spans
        source, num = spans.source[: len(rows)], len(spans.names)
        gone = self._gone[self._removed[self._gone]]
        kept = self.decided.kept[gone]
        lost = gone[(kept < len(rows)) & (spans.source[kept] == source[gone])]
        line = np.full(num, np.iinfo(np.int64).max)
        if "unknown" in rows.column_names:
            unknown = np.flatnonzero(rows["unknown"].to_numpy())
            np.minimum.at(line, source[unknown], UNKNOWN_LINE + self._row[unknown])
        num_rows, num_lost = (np.bincount(of, minlength=num).astype(np.int64) for of in (source, source[lost]))
        names = pa.array(spans.names, pa.large_string())
        return pa.table({"source": names, "rows": num_rows, "lost": num_lost, "line": line})


@dataclass(frozen=True)
class RankTask:
    """Count the lowest rows in one part, and tell each group of sources their ranks."""

    number: int
    written: str


def rank_roots(task: RankTask, folder: Folder, roots: tuple[str, ...]) -> int:
    """Write the rank of each lowest row among those of the part, in buckets by group of sources; returns their number.

    Args:
        roots: the files of all groups of sources, in buckets by part.
    """
    import pyarrow as pa

    found = [_column(read_shared(folder, [path], task.number), "root") for path in roots]
    root = np.concatenate(found)
    group = np.repeat(np.arange(len(found)), list(map(len, found)))
    rank = np.empty(len(root), np.int64)
    rank[np.argsort(root)] = np.arange(len(root))
    write_shared(folder, task.written, pa.table({"root": root, "rank": rank}), group, len(roots))
    return len(root)


def _column(table: pa.Table | None, name: str) -> Indices:
    return np.zeros(0, np.int64) if table is None else table[name].to_numpy()


@dataclass(frozen=True)
class NumberTask:
    """Number the groups of duplicates of one group of sources."""

    number: int
    members: str
    written: str


def number_members(task: NumberTask, folder: Folder, ranks: tuple[str, ...], before: Indices, firsts: Indices) -> str:
    """Write ``row``, ``group`` and ``leader`` of the members, in buckets by part; returns the path.

    Args:
        ranks: the files of all parts, in buckets by group of sources.
        before: (P,) how many groups of duplicates have their lowest rows in parts before each one.
        firsts: (P,) the first row of each part.
    """
    import pyarrow as pa

    members = read_shared(folder, [task.members], 0)
    known = [read_shared(folder, [path], task.number) for path in ranks]
    root = np.concatenate([_column(one, "root") for one in known])
    number = np.concatenate([_column(one, "rank") + start for one, start in zip(known, before.tolist(), strict=True)])
    order = np.argsort(root)
    row, leader, of = (_column(members, name) for name in ("row", "leader", "root"))
    found: Any = number[order][np.searchsorted(root[order], of)]
    part = np.searchsorted(firsts, row, side="right") - 1
    table = pa.table({"row": row, "group": found, "leader": leader})
    return write_shared(folder, task.written, table, part, len(firsts))


def paths_of(tasks: Sequence[Any], name: str) -> tuple[str, ...]:
    """The files of some tasks."""
    return tuple(getattr(task, name) for task in tasks)
