"""Settle what depends on rows of other clusters.

The tables of the pairwise stage name rows of the own cluster only; those of the cross-cluster stage name rows of other
clusters too. Two things are unknown while one cluster is decided by itself: the kept row nearest to a removed row may
lie in another cluster; and by the greedy rule, a row is removed only if its match in another cluster is kept. Where the
cross-cluster stage wrote the tables, `across.find_taken` settles the latter before; for other tables that name rows of
other clusters it is settled here, by the best match of each row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_text
from curator_dask.dedup.decide.groups import joined_groups
from curator_dask.files.buckets.shared import shared_batches
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import Indices


class Takers(NamedTuple):
    """T pairs of a row and the kept row of another cluster that removes it."""

    row: Indices
    kept: Indices
    cosine: NDArray[np.float32]


@dataclass(frozen=True)
class TakersFile:
    """Where they are: a file with the lines of a table of taken rows (`across.taken_rows`), in one bucket."""

    path: str
    numbers: Indices
    """(C,) all clusters, ascending."""
    starts: Indices
    """(C + 1,) the first row of each among all."""

    def read(self, folder: Folder) -> Takers:
        """The pairs, as rows of all clusters."""
        [taken] = shared_batches(folder, [self.path], 0)
        row, kept = (
            self.starts[np.searchsorted(self.numbers, taken[cluster].to_numpy())] + taken[place].to_numpy()
            for cluster, place in (("cluster", "place"), ("kept_cluster", "kept_place"))
        )
        return Takers(row, kept, taken["cosine"].to_numpy())


def settle_crossing(
    decisions: Decisions, rows: Indices, matches: Indices, takers: Takers | None, ids: Callable[[], list[Any]]
) -> None:
    """Settle what depends on rows of other clusters.

    Args:
        rows, matches: the rows that are duplicates of a row of another cluster, and that row.
        takers: by the greedy rule, who removes rows of other clusters; None: only the best match of a row is known.
        ids: gives the ids of `rows`.
    """
    pairs = [(rows, matches)]
    if takers is not None:
        _name_takers(decisions, takers)
        pairs.append((takers.row, takers.kept))
    elif decisions.rule.name == "greedy":
        _remove_matched(decisions, rows, matches, ids)
    name_nearer_matches(decisions)
    _join_groups(decisions, pairs)


def _join_groups(decisions: Decisions, pairs: Iterable[tuple[Indices, Indices]]) -> None:
    """Join the groups of removed rows and their matches in other clusters."""
    linked = [(rows[decisions.removed[rows]], matches[decisions.removed[rows]]) for rows, matches in pairs]
    rows, matches = (np.concatenate(ends) for ends in zip(*linked, strict=True))
    decisions.group = joined_groups(decisions.group, rows, matches)


def _name_takers(decisions: Decisions, takers: Takers) -> None:
    """Name the kept rows of other clusters that are nearer than all of the own one."""
    rows, kept, cosine = takers
    _name_as_best(decisions, rows, kept, cosine)
    nearer = cosine > decisions.kept_score[rows]
    _name_kept_rows(decisions, rows[nearer], kept[nearer], cosine[nearer])


def _name_as_best(decisions: Decisions, rows: Indices, kept: Indices, cosine: NDArray[np.float32]) -> None:
    """Name the kept rows as the best matches of rows whose tables know none so near: it was one that the filters drop."""
    nearer = cosine > decisions.cosine[rows]
    decisions.cosine[rows[nearer]] = cosine[nearer]
    decisions.max_row[rows[nearer]] = kept[nearer]


def _remove_matched(decisions: Decisions, rows: Indices, matches: Indices, ids: Callable[[], list[Any]]) -> None:
    """Greedy rule: remove a kept row if its match in another cluster is kept too, unless a removed row relies on it.

    ::

        cluster 0   A             kept
        cluster 1   B → A   C     B is removed, as its match A is kept, unless C was removed with B as its kept row
        cluster 2   D → B         settled after B: D is removed if B is still kept, else D is kept
    """
    if not len(rows):
        return
    match_of = dict(zip(rows.tolist(), matches.tolist(), strict=True))
    relied_on = _kept_rows_in_use(decisions)
    pairs: list[tuple[int, int]] = []
    for row in _matches_first(ids(), match_of):
        match = match_of[row]
        if not decisions.removed[row] and not relied_on[row] and not decisions.removed[match]:
            decisions.removed[row] = relied_on[match] = True
            pairs.append((row, match))
    if pairs:
        _name_kept_rows(decisions, *np.array(pairs).T)


def _kept_rows_in_use(decisions: Decisions) -> NDArray[np.bool_]:
    """(N,) the rows that are named as the kept row of a removed one."""
    in_use = np.zeros(len(decisions.removed), np.bool_)
    kept_rows = decisions.kept_row[decisions.removed]
    in_use[kept_rows[(kept_rows >= 0) & (kept_rows < len(in_use))]] = True
    return in_use


def _matches_first(names: Sequence[Any], match_of: Mapping[int, int]) -> Iterator[int]:
    """The rows that have a match, each after its match if that has one too; otherwise in the order of ids as text.

    A row may come more than once; what is settled does not change then.
    """
    for _, start in sorted(zip(map(id_text, names), match_of, strict=True)):
        path = {start: None}  # an ordered set
        row = start
        # The ranking over all clusters has no circles; a damaged table must not make this loop endless.
        while (row := match_of[row]) in match_of and row not in path:
            path[row] = None
        yield from reversed(path)


def name_nearer_matches(decisions: Decisions) -> None:
    """Name the match of a removed row as its kept row, where it is kept and nearer than all kept rows of the own cluster."""
    rows = np.flatnonzero(decisions.removed & (decisions.cosine > decisions.kept_score))
    matches = decisions.max_row[rows]
    is_row = (matches >= 0) & (matches < len(decisions.removed))
    rows, matches = rows[is_row], matches[is_row]
    is_kept = ~decisions.removed[matches]
    _name_kept_rows(decisions, rows[is_kept], matches[is_kept])


def _name_kept_rows(
    decisions: Decisions, rows: Indices, matches: Indices, cosine: NDArray[np.float32] | None = None
) -> None:
    """Name each match as the kept row nearest to its removed row.

    Args:
        cosine: of the pairs. None: those that the similarity tables have.
    """
    decisions.kept_row[rows] = matches
    decisions.kept_score[rows] = decisions.cosine[rows] if cosine is None else cosine
