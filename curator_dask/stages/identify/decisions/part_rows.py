"""What a worker needs to write one part of the decisions, as numbers: the client has no ids.

The lines of a part are rows of some clusters. Other rows that they name, such as kept ones, are *references*: each is
listed once, and the columns hold places in that list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.stages.identify.decisions.clip_facts import ClipFacts
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import Indices

REASONS = ("near-duplicate", "copy", "in-reference", "override")


@dataclass(frozen=True)
class PartRows:
    """One part."""

    columns: dict[str, Any]
    """Of L lines, R of which are removed: (L,) removed, cosine_sim_score, group, cluster, table, line; leader, a reference;
    (R,) all others, but for reference_table, reference_line and reference_id, which say where the references are, and
    number: the clusters whose tables these are."""
    digests: tuple[bytes, ...]
    """One digest of the ids of each of these tables."""


@dataclass(frozen=True)
class PartsOfDecisions:
    """All decisions, to be cut into parts; or those of one part."""

    decisions: Decisions
    facts: ClipFacts
    with_groups: bool
    first: int = 0
    """The number among all of the first row that is decided on. The decisions name all rows by such numbers."""
    known_groups: tuple[Indices, Indices] | None = None
    """(N,) each, as `Decisions.groups` gives them, where they are known; None: they are made from the decisions."""

    def rows(self, start: int, stop: int) -> PartRows:
        """The part with the rows from start to stop, of those decided on. Each is the first one of a cluster, or the end."""
        decisions = self.decisions
        removed = np.flatnonzero(decisions.removed[start:stop]) + start
        columns, kept = self._covering(removed)
        named = {
            "leader": self._leader[start:stop],
            "kept": decisions.kept_row[removed],
            "max": decisions.max_row[removed],
            **kept,
        }
        references = np.unique(np.concatenate([rows[rows >= 0].astype(np.int64) for rows in named.values()]))
        columns |= {name: _places_in(references, rows) for name, rows in named.items()}
        columns |= {**self._of_lines(start, stop), **self._of_removed(removed), **self._facts(start, removed)}
        return self._with_tables(columns, np.arange(start, stop) + self.first, references)

    def _with_tables(self, columns: dict[str, Any], lines: Indices, references: Indices) -> PartRows:
        """The columns, and where the ids of lines and references are: a table and a line of it. Other clips come last."""
        rows = self.decisions.rows
        inside = references[references < len(rows)]
        (own, line), (other, other_line) = rows.places(lines), rows.places(inside)
        needed = np.unique(np.concatenate([own, other]))
        others = references[len(inside) :] - len(rows)
        placed = {
            "table": np.searchsorted(needed, own), "line": line,
            "reference_table": np.searchsorted(needed, other), "reference_line": other_line,
            "number": np.array(rows.tables.numbers, np.int64)[needed],
            "reference_id": self.decisions.others.take(others).combine_chunks(),
        }  # fmt: skip
        digests = tuple(rows.digests[place] for place in needed.tolist())
        return PartRows({**columns, **placed}, digests)

    @cached_property
    def _groups(self) -> tuple[Indices, Indices]:
        if self.known_groups is not None:
            return self.known_groups
        nothing = np.full(len(self.decisions.removed), -1, np.int8)
        return self.decisions.groups() if self.with_groups else (nothing, nothing)

    @property
    def _leader(self) -> Indices:
        return self._groups[1]

    def _of_lines(self, start: int, stop: int) -> dict[str, Any]:
        return {
            "removed": self.decisions.removed[start:stop],
            "cosine_sim_score": self.decisions.cosine[start:stop],
            "cluster": self.decisions.rows.clusters(start + self.first, stop + self.first),
            "group": self._groups[0][start:stop].astype(np.int64),
        }

    def _of_removed(self, removed: Indices) -> dict[str, Any]:
        return {
            "kept_score": self.decisions.kept_score[removed],
            "has_eps": self._has_eps[removed],
            "reason": self._reasons[removed],
        }

    @cached_property
    def _has_eps(self) -> NDArray[np.bool_]:
        return self.decisions.has_eps()

    @cached_property
    def _reasons(self) -> NDArray[np.int8]:
        """(N,) why a row was removed: by a person, for a clip of a reference, or for a kept row."""
        decisions = self.decisions
        found = np.zeros(len(decisions.removed), np.int8)
        if decisions.copies is not None:
            found[decisions.copies] = REASONS.index("copy")
        if decisions.covered is not None:
            found[decisions.covered.in_reference()] = REASONS.index("in-reference")
        if decisions.by_hand is not None:
            found[decisions.by_hand] = REASONS.index("override")
        return found

    @cached_property
    def _removed_before(self) -> NDArray[np.int64]:
        """(C + 1,) how many rows before each cluster are removed."""
        return np.searchsorted(np.flatnonzero(self.decisions.removed), self.decisions.rows.starts)

    def _facts(self, start: int, removed: Indices) -> dict[str, Any]:
        """Source, start and end of the removed rows; sources as places in a list of names, -1 for none."""
        import pyarrow as pa

        code = self.facts.sources.code[removed]
        used, place = np.unique(np.append(code, -1), return_inverse=True)  # -1 comes first
        names = [self.facts.sources.names[one] for one in used[1:].tolist()]
        first = self._removed_before[np.searchsorted(self.decisions.rows.starts, start)] if start else 0
        start_s, end_s = self.facts.times[first : first + len(removed)].T
        return {
            "source": place[:-1] - 1,
            "source_name": pa.array(names, pa.string()),
            "start_s": start_s,
            "end_s": end_s,
        }

    def _covering(self, removed: Indices) -> tuple[dict[str, Any], dict[str, Indices]]:
        """How kept rows cover the removed ones, and these kept rows; nothing by the other rules."""
        import pyarrow as pa

        covered = self.decisions.covered
        if covered is None:
            return {}, {}
        first, stop = covered.first[removed], covered.first[removed + 1]
        stops = np.cumsum(stop - first)
        places = np.repeat(stop - stops, stop - first) + np.arange(int(stops[-1]) if len(stops) else 0)
        columns = {
            "cover": covered.share[removed],
            "offset_s": covered.offset_s[removed],
            "kind": covered.kind.take(pa.array(removed)),
            "num_kept": stop - first,
        }
        return columns, {"all_kept": covered.kept[places]}


def _places_in(references: Indices, rows: Indices) -> NDArray[np.int64]:
    """The places of rows in the list of references; -1 for no row."""
    return np.where(rows >= 0, np.searchsorted(references, rows), -1)
