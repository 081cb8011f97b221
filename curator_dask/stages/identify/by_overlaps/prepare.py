"""Put together what a part of the decisions needs, on a worker: what was decided on its rows, and the facts about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import one_type, stored
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.by_overlaps.results import Everywhere
from curator_dask.stages.identify.decisions.join_decisions import CoveredRows, Decisions, Named, stored_type
from curator_dask.stages.identify.decisions.output_files import Sending, send_rows
from curator_dask.stages.identify.decisions.part_rows import PartRows, PartsOfDecisions
from curator_dask.stages.identify.decisions.table_rows import TableRows
from curator_dask.stages.identify.in_parts.clip_facts import read_facts
from curator_dask.stages.identify.in_parts.prepare import Prepared
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.overlap.load_rows import load_ranked_rows
from curator_dask.stages.identify.source_groups.rows import LinesOfPart, RowsInTables

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RowsOfAll(TableRows):
    """All rows, of which a worker knows the lines of some."""

    row_starts: Indices = field(default_factory=lambda: np.zeros(1, np.int64))
    """(C + 1,) the first row of each cluster."""
    known: RowsInTables = field(default_factory=RowsInTables.nothing)

    def __len__(self) -> int:
        return int(self.row_starts[-1])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        return self.row_starts

    def places(self, rows: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lines = self.known.of(rows)
        place = np.searchsorted(self.table_starts, lines, side="right") - 1
        return place, lines - self.table_starts[place]


@dataclass(frozen=True)
class Shared:
    """What the work on all parts has in common."""

    rule: OverlapRule
    rows: RowsOfAll
    folder: Folder
    results: tuple[str, ...]
    """The files with the rows that go, in buckets by part."""
    named: tuple[str, ...]
    """The same with the clips that rows name."""
    members: tuple[str, ...]
    """The same with the members of groups of duplicates."""
    facts: tuple[str, ...]
    """The files with what the clip index tells; none where nothing is known."""
    everywhere: Everywhere


@dataclass(frozen=True)
class PrepareTask:
    """Prepare one part."""

    part: LinesOfPart
    sending: Sending


def send_again(task: PrepareTask, shared: Shared) -> str:
    """Write the rows of a part for `write_part` once more, whatever was done."""
    return send_rows(replace(task.sending, done=""), _Part(task, shared).made())


def prepare_part(task: PrepareTask, shared: Shared) -> Prepared:
    """Write the rows of a part for `write_part`, unless its file was made from the same, and count."""
    part = _Part(task, shared)
    return Prepared(send_rows(task.sending, part.made()), part.counts())


@dataclass(frozen=True)
class _Part:
    """One part."""

    task: PrepareTask
    shared: Shared

    @property
    def _first(self) -> int:
        return self.task.part.first

    @property
    def _num_rows(self) -> int:
        return self.task.part.num_rows

    def made(self) -> PartRows:
        """What `write_part` needs."""
        removed = self._decisions.removed
        facts = read_facts(self.shared.folder, self.shared.facts, self.task.part.number, self._first, removed).facts
        return PartsOfDecisions(self._decisions, facts, True, self._first, self._groups).rows(0, self._num_rows)

    def counts(self) -> dict[str, int]:
        """The rows, those that go, and what a person changed."""
        decisions, by_rule = self._decisions, self._by_rule
        num_removed = int(np.count_nonzero(decisions.removed))
        by_hand = decisions.by_hand if decisions.by_hand is not None else np.zeros(0, np.bool_)
        covered = decisions.covered.in_reference() if decisions.covered is not None else by_hand
        return {
            "rows": self._num_rows,
            "kept": self._num_rows - num_removed,
            "removed": num_removed,
            "orphans": decisions.num_orphans(),
            "in_reference": int(np.count_nonzero(decisions.removed & covered)),
            "kept_by_hand": int(np.count_nonzero(by_rule & ~decisions.removed)),
            "removed_by_hand": int(np.count_nonzero(by_hand)),
            "lost_by_hand": int(np.isin(decisions.kept_row[decisions.removed], self.shared.everywhere.remove).sum()),
        }

    def _read(self, paths: tuple[str, ...]) -> pa.Table | None:
        return read_shared(self.shared.folder, paths, self.task.part.number)

    @cached_property
    def _result(self) -> pa.Table | None:
        """The rows that go by the rule, ascending."""
        found = self._read(self.shared.results)
        return None if found is None else found.sort_by("row")

    @cached_property
    def _gone(self) -> Indices:
        """The places of these."""
        return np.zeros(0, np.int64) if self._result is None else self._result["row"].to_numpy() - self._first

    @cached_property
    def _by_rule(self) -> NDArray[np.bool_]:
        removed = np.zeros(self._num_rows, np.bool_)
        removed[self._gone] = True
        return removed

    def _by_hand(self, rows: Indices) -> NDArray[np.bool_]:
        """(n,) which rows of the part are among some."""
        chosen = np.zeros(self._num_rows, np.bool_)
        chosen[rows[(rows >= self._first) & (rows < self._first + self._num_rows)] - self._first] = True
        return chosen

    def _spread(self, name: str, nothing: Any, kind: type) -> NDArray[Any]:
        """(n,) a number of each row that goes, and another one for all others."""
        values: NDArray[Any] = np.full(self._num_rows, nothing, kind)
        if self._result is not None:
            values[self._gone] = self._result[name].to_numpy()
        return values

    @cached_property
    def _decisions(self) -> Decisions:
        """The decisions on the rows of the part, which name other rows by their numbers among all."""
        keep, remove = (self._by_hand(rows) for rows in (self.shared.everywhere.keep, self.shared.everywhere.remove))
        kept, taken = self._by_rule & keep, remove & ~self._by_rule
        changed = kept | taken
        max_row, cosine, more = self._matches()
        kept_row = self._renamed(self._spread("kept", -1, np.int64))
        max_row[changed], kept_row[changed] = -1, -1
        score = self._spread("kept_score", 0, np.float32)
        score[kept] = 0
        return Decisions(
            self._rows, (self._by_rule & ~kept) | taken, max_row, kept_row, cosine, score, np.arange(self._num_rows),
            Rule("overlap", 0.0, self.shared.rule.scope), self._others(more), self._covered, taken,
        )  # fmt: skip

    @cached_property
    def _named(self) -> pa.Table | None:
        return self._read(self.shared.named)

    @cached_property
    def _rows(self) -> RowsOfAll:
        """All rows, with the lines of those of the part and of those that they name."""
        own = RowsInTables(np.arange(self._num_rows) + self._first, self._lines + self.task.part.first_line)
        if self._named is not None:
            clip, line = (self._named[name].to_numpy() for name in ("clip", "line"))
            own = own.joined(clip[line >= 0], line[line >= 0])
        return replace(self.shared.rows, known=own)

    @cached_property
    def _lines(self) -> Indices:
        """(n,) the lines of the rows of the part, from its first one on."""
        part = self.task.part
        if part.dropped is None:
            return np.arange(self._num_rows)
        stays = [part.stays(table) for table in part.read(["id"])]
        return np.flatnonzero(np.concatenate([np.zeros(0, np.bool_), *stays]))

    @cached_property
    def _staying(self) -> pa.Table | None:
        """Clips that stay and that rows of the part name: ``clip``, ascending, and ``text``."""
        import pyarrow as pa

        if self._named is None:
            return None
        found = self._named.filter(pa.array(self._named["line"].to_numpy() < 0))
        clip, first = np.unique(found["clip"].to_numpy(), return_index=True)
        return pa.table({"clip": clip, "text": found["text"].take(pa.array(first))})

    def _renamed(self, clips: Indices) -> Indices:
        """Rows as they are; other clips by their places behind all rows."""
        num_rows = len(self.shared.rows)
        if self._staying is None:
            return clips
        others = num_rows + np.searchsorted(self._staying["clip"].to_numpy(), clips)
        return np.where(clips < num_rows, clips, others)

    def _matches(self) -> tuple[Indices, Any, pa.Array]:
        """(n,) each: what the scores of the rows come from, and the scores. And ids of clips that are no rows of the part.

        They are looked for where a row goes.
        """
        part = self.task.part
        if not part.tables.numbers:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), None
        rows, matches, _ = load_ranked_rows(part.tables, self.shared.rule.strategy)
        if part.dropped is not None:
            stays = np.zeros(len(rows), np.bool_)
            stays[self._lines] = True
            rows, matches = replace(rows, staying=self._lines), matches.of(stays)
        line, named = matches.rows(rows, self._by_rule)
        found = np.where(line >= 0, line.astype(np.int64) + self._first, -1)
        behind = len(self.shared.rows) + (0 if self._staying is None else len(self._staying))
        ids = _note(found, named, behind)
        return found, matches.cosine, ids

    def _others(self, more: pa.Array | None) -> pa.ChunkedArray:
        """The ids of clips that are no rows: those that stay, and some more, as they stand in files."""
        import pyarrow as pa

        kind = stored_type(self.shared.rows.id_type)
        texts = pa.chunked_array([], pa.large_string()) if self._staying is None else self._staying["text"]
        try:
            staying = texts.cast(kind)
        except pa.ArrowException as error:
            raise InputError(f"ids of the reference are no {kind}, as those of the clips are: {error}") from error
        return pa.chunked_array([*staying.chunks, *([] if more is None else [more.cast(kind)])], kind)

    @cached_property
    def _covered(self) -> CoveredRows:
        import pyarrow as pa

        result, counts = self._result, np.zeros(self._num_rows, np.int64)
        if result is None:
            kind, kept = pa.nulls(self._num_rows, pa.string()), np.zeros(0, np.int64)
        else:
            lists = result["all_kept"].combine_chunks()
            counts[self._gone] = np.diff(lists.offsets.to_numpy())
            kept = self._renamed(lists.flatten().to_numpy())
            place = np.cumsum(self._by_rule) - 1
            kind = result["kind"].combine_chunks().take(pa.array(place, mask=~self._by_rule))
        first = np.concatenate([[0], np.cumsum(counts)])
        share, offset_s = (self._spread(name, 0, np.float64) for name in ("share", "offset_s"))
        return CoveredRows(share, offset_s, kind, first, kept, len(self.shared.rows))

    @cached_property
    def _groups(self) -> tuple[Indices, Indices]:
        """(n,) each: the number of the group of each row, and its leader; -1 for none."""
        number, leader = (np.full(self._num_rows, -1) for _ in range(2))
        members = self._read(self.shared.members)
        if members is not None:
            place = members["row"].to_numpy() - self._first
            number[place], leader[place] = members["group"].to_numpy(), members["leader"].to_numpy()
        return number, leader


def _note(rows: Indices, named: tuple[Named, ...], behind: int) -> pa.Array | None:
    """Put numbers from `behind` on in place of ids that rows name; returns these ids."""
    import pyarrow as pa

    if not named:
        return None
    ids = stored(pa.concat_arrays(one_type([one for _, one in named])))
    coded = ids.dictionary_encode()
    number, at = coded.indices.to_numpy().astype(np.int64) + behind, 0
    for of, some in named:
        rows[of] = number[at : at + len(some)]
        at += len(some)
    return coded.dictionary
