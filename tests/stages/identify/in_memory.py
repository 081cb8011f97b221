"""All decisions in memory, in one piece: what tests hold the decisions against that workers make part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curator_dask.data.clip_index import clip_index_batches
from curator_dask.data.clusters import column_values
from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_texts
from curator_dask.data.tables import open_parquet, row_group_tables
from curator_dask.dedup.decide.cover import strength_that_keeps
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.stretches import Indices, Overlaps
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, OVERLAPS_TABLE
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions.clip_facts import TIMES as CLIP_TIMES
from curator_dask.stages.identify.decisions.clip_facts import ClipFacts, codes_of_names
from curator_dask.stages.identify.decisions.loaded_decisions import (
    CoveredRows,
    Decisions,
    find_named,
    row_type,
    stored_type,
)
from curator_dask.stages.identify.decisions.own_source import EmptiedSources, Sources
from curator_dask.stages.identify.decisions.part_rows import PartsOfDecisions
from curator_dask.stages.identify.decisions.parts import part_inputs, part_spans
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, TableRows
from curator_dask.stages.identify.output.sending import Sending, send_part
from curator_dask.stages.identify.output.write_parts import write_parts
from curator_dask.stages.identify.overlap.decide_clips import ClipsToDecide, DecidedClips, OverlapRule
from curator_dask.stages.identify.overlap.load_rows import Matches, load_ranked_rows
from curator_dask.stages.identify.overlap.ranked_rows import rank_names
from curator_dask.stages.identify.overlap.read_overlaps import (
    COLUMNS,
    IN_REFERENCE,
    OTHER_NUMBER,
    TIMES,
    ClipSpans,
    FoundOverlaps,
    micros,
    overlaps_of,
    texts_of,
    with_standing_pictures,
)
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.workplace import workplace


class Finder(Protocol):
    """Finds clips by their ids, such as a `RowIndex`."""

    def find(self, texts: pa.ChunkedArray) -> NDArray[np.int64]:
        """The place of each id; -1 for one that is not there."""


@dataclass(frozen=True)
class ClipSet:
    """Some of the clips to decide on, one after the other: the rows, which come first, or clips that stay."""

    number: int
    """As align numbers the sets."""
    first: int
    """The place of its first clip among all."""
    index: Finder
    """Finds the places in the set."""

    def find(self, texts: pa.ChunkedArray) -> Indices:
        """The places of ids among all clips; -1 for those that are not in the set."""
        places = self.index.find(texts)
        return np.where(places >= 0, places + self.first, -1)


@dataclass(frozen=True)
class StayingClips:
    """Clips of one set, which come before all rows."""

    ids: pa.ChunkedArray
    """Texts."""
    number: int
    """The number of the reference that align took them from; 0 where they lie among the new clips."""
    in_reference: bool = True
    """Whether they are of another output; else of the run that the rows are added to."""


Stay = Callable[["pa.ChunkedArray"], NDArray[np.bool_]]
"""Says of ids, as texts, which of them are decided on."""
IDS_AT_ONCE = 262_144


@dataclass(frozen=True)
class OverlapDecisions:
    """The decisions, the sources of the rows, and the least strength, in thousandths, of the overlaps that counted."""

    decisions: Decisions
    sources: Sources
    min_strength: int


@dataclass(frozen=True)
class _Rows:
    """N rows to decide on, in the order of cluster and rank, followed by the clips that stay."""

    rows: TableRows
    matches: Matches
    """What their scores come from."""
    values: dict[str, NDArray[Any]]
    """(N,) each, the columns that rank, by name."""
    others: pa.ChunkedArray
    """The texts of the ids of the clips that stay."""
    sets: tuple[ClipSet, ...]
    first_reference: int
    """The place of the first clip of another output."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_clips(self) -> int:
        return len(self.rows) + len(self.others)

    def texts(self, places: Indices) -> list[str]:
        """The ids at some places, ascending, as texts."""
        own = places[places < len(self.rows)]
        ids = id_texts(pa.chunked_array([self.rows.ids(own)]))
        found: list[str] = [*ids.to_pylist(), *self.others.take(places[len(own) :] - len(self.rows)).to_pylist()]
        return found


def decide_by_overlaps(
    tables: ClusterTables, folder: Folder, rule: OverlapRule, staying: Sequence[StayingClips] = (),
    stay: Stay | None = None,
) -> OverlapDecisions:  # fmt: skip
    """Decide on the rows of all clusters.

    Args:
        folder: the output of the align stage.
        staying: clips that stay and come before all rows.
        stay: says of ids, as texts, whether these rows are decided on; the others are as if they were not there. None: all.
    """
    rows = _rows(tables, rule.strategy, staying)
    spans = read_spans(folder, rows.sets, rows.num_clips, rows.texts)
    found = with_standing_pictures(read_overlaps(folder, rows.sets, rows.num_clips))
    if stay is not None:
        rows, spans, found = _only_those_that_stay(rows, spans, found, staying_lines(rows.rows, stay))
    clips = ClipsToDecide(len(rows), spans, rows.values, found, rows.texts, rule)
    min_strength = rule.min_strength
    if rule.target_keep is not None:
        levels = np.unique(clips.stretches.strength)
        min_strength = strength_that_keeps(
            levels, lambda least: int(clips.removed(least).sum()), len(rows), rule.target_keep
        )
    decisions = _decisions(rows, clips.decide(min_strength))
    return OverlapDecisions(decisions, Sources(spans.source[: len(rows)], spans.names), min_strength)


def _rows(tables: ClusterTables, strategy: RankingStrategy, staying: Sequence[StayingClips]) -> _Rows:
    rows, matches = load_ranked_rows(tables)
    names = rank_names(strategy)
    read = [one.select(list(names.values())) for one in tables.read(range(len(tables.numbers)))]
    ranking = pa.concat_tables(read, promote_options="permissive")
    values = {name: column_values(ranking, held) for name, held in names.items()}
    staying = sorted(staying, key=lambda one: one.in_reference)
    first = np.cumsum([len(rows), *(len(one.ids) for one in staying)]).tolist()
    others = pa.chunked_array([chunk for one in staying for chunk in one.ids.chunks], pa.large_string())
    sets = [ClipSet(0, 0, rows.index)]
    for one, at in zip(staying, first[:-1], strict=True):
        sets.append(ClipSet(one.number, at, RowIndex.of([*id_digests(one.ids).T])))
    first_reference = first[sum(not one.in_reference for one in staying)]
    return _Rows(rows, matches, values, others, tuple(sets), first_reference)


def _only_those_that_stay(
    rows: _Rows, spans: ClipSpans, found: FoundOverlaps, lines: NDArray[np.bool_]
) -> tuple[_Rows, ClipSpans, FoundOverlaps]:
    """The rows without dropped ones, and the spans and overlaps of these.

    Overlaps that follow by way of a dropped clip's picture count: they were made before.
    """
    stays = np.concatenate([lines, np.ones(len(rows.others), np.bool_)])
    left = replace(
        rows,
        rows=replace(rows.rows, staying=np.flatnonzero(lines)),
        matches=rows.matches.of(lines),
        values={name: values[lines] for name, values in rows.values.items()},
        first_reference=rows.first_reference - int((~stays).sum()),
    )
    chosen = stays[found.overlaps.row] & stays[found.overlaps.other]
    place = np.cumsum(stays) - 1
    overlaps = found.overlaps[chosen]
    overlaps = replace(overlaps, row=place[overlaps.row], other=place[overlaps.other])
    within = ClipSpans(spans.source[stays], spans.names, spans.start[stays], spans.length[stays])
    return left, within, FoundOverlaps(overlaps, found.offset_s[chosen], found.kind.filter(pa.array(chosen)))


def _decisions(rows: _Rows, decided: DecidedClips) -> Decisions:
    kind, removed = row_type(rows.num_clips), decided.removed
    max_row, named = rows.matches.rows(rows.rows, removed)
    share, offset_s, kinds = decided.covered()
    first = decided.covers.first[: len(rows) + 1]
    decisions = Decisions(
        rows=rows.rows,
        removed=removed,
        max_row=max_row.astype(kind),
        kept_row=decided.kept.astype(kind),
        cosine=rows.matches.cosine,
        kept_score=(decided.strength / 1000).astype(np.float32),
        group=decided.groups(kind),
        rule=Rule("overlap", 0.0, decided.clips.rule.scope),
        others=_other_ids(rows),
        covered=CoveredRows(share, offset_s, kinds, first, decided.covers.kept, rows.first_reference),
    )
    find_named(decisions, {"max_id": named})
    return decisions


def _other_ids(rows: _Rows) -> pa.ChunkedArray:
    """The ids of the clips that stay, in the type of the rows' ids. Raises InputError where they do not fit."""
    kind = stored_type(rows.rows.id_type)
    try:
        return rows.others.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"ids of the reference are no {kind}, as those of the clips are: {error}") from error


def read_spans(
    folder: Folder, sets: Sequence[ClipSet], num_clips: int, texts_of: Callable[[Indices], list[str]]
) -> ClipSpans:
    """The spans and sources of clips, among which those of references are not looked for.

    Args:
        texts_of: gives the ids, as texts, of clips at some places.
    """
    spans = ClipSpans(np.full(num_clips, -1, np.int32), [], *np.zeros((2, num_clips), np.int64))
    codes: dict[str, int] = {}
    for table, in_reference in _read(folder, CLIP_INDEX, ["id", "source", "start_s", "end_s"], IN_REFERENCE):
        own = table if in_reference is None else table.filter(~in_reference)
        _note_spans(spans, own, codes, sets, folder)
    unknown = np.flatnonzero(spans.source < 0)
    spans.source[unknown] = [codes.setdefault(name, len(codes)) for name in texts_of(unknown)]
    return replace(spans, names=list(codes))


def _note_spans(
    spans: ClipSpans, table: pa.Table, codes: dict[str, int], sets: Sequence[ClipSet], folder: Folder
) -> None:
    """Note the spans and sources of some lines of the table, but for clips of which an earlier line told."""
    source = codes_of_names(table["source"], codes)
    start, end = (micros(_or_zero(table[name]), folder, CLIP_INDEX) for name in TIMES[:2])
    for places in (one.find(texts_of(table["id"])) for one in sets):
        line = np.flatnonzero(places >= 0)[::-1]  # of several lines for a clip the first one stays
        line = line[spans.source[places[line]] < 0]
        clip = places[line]
        spans.source[clip], spans.start[clip] = source[line], start[line]
        spans.length[clip] = np.maximum(end[line] - start[line], 0)


def _or_zero(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(values, 0.0)


def read_overlaps(folder: Folder, sets: Sequence[ClipSet], num_clips: int) -> FoundOverlaps:
    """The overlaps of the clips of these sets. Those of other clips are left out.

    Raises InputError where a value is none, or where not one overlap is between two of the clips.
    """
    found, num_lines, num_ours = [_no_overlaps()], 0, 0
    for table, number in _read(folder, OVERLAPS_TABLE, COLUMNS, OTHER_NUMBER):
        row = _places(table["id"], sets, None if number is None else np.zeros_like(number))
        other = _places(table["other_id"], sets, number)
        known = (row >= 0) & (other >= 0)
        ours = known if number is None else known | ((row >= 0) & (number > 0))
        num_lines, num_ours = num_lines + len(table), num_ours + int(np.count_nonzero(ours))
        found.append(overlaps_of(table.filter(known), row[known], other[known], folder))
    if num_lines and not num_ours:
        raise InputError(
            f"{folder.join(OVERLAPS_TABLE)} names no two of the {num_clips:,} clips to decide on: is overlaps_path the "
            "output that align made from these clips?"
        )
    return _joined(found)


def _no_overlaps() -> FoundOverlaps:
    nothing, spans = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    overlaps = Overlaps(nothing, nothing, spans, spans, np.zeros(0, np.bool_), nothing)
    return FoundOverlaps(overlaps, np.zeros(0), pa.array([], pa.string()))


def _joined(found: Sequence[FoundOverlaps]) -> FoundOverlaps:
    overlaps = Overlaps(
        *(np.concatenate([getattr(one.overlaps, column.name) for one in found]) for column in fields(Overlaps))
    )
    offset_s = np.concatenate([one.offset_s for one in found])
    return FoundOverlaps(overlaps, offset_s, pa.concat_arrays([one.kind for one in found]))


def _read(
    folder: Folder, path: str, columns: Sequence[str], mark: str
) -> Iterator[tuple[pa.Table, NDArray[Any] | None]]:
    """The columns, some lines at a time, and the values of one more that older tables lack: None then."""
    if not folder.exists(path):
        raise InputError(f"{folder.url} holds no {path}: give the output of the align stage as overlaps_path")
    with open_parquet(folder, path) as file:
        marked = mark in file.schema_arrow.names
    for table in row_group_tables(folder, path, [*columns, mark] if marked else columns):
        yield table, table[mark].to_numpy() if marked else None


def _places(wanted: pa.ChunkedArray, sets: Sequence[ClipSet], number: NDArray[Any] | None) -> Indices:
    """The places of clips among all; -1 for one that is not there.

    `number` holds that of the set of each clip. Where it is None, a clip is looked for in all sets, one after the other.
    """
    texts = texts_of(wanted)
    places = np.full(len(texts), -1)
    for one in sets:
        found = one.find(texts)
        here = (places < 0) & (found >= 0) & (True if number is None else number == one.number)
        places[here] = found[here]
    return places


def staying_lines(rows: TableRows, stay: Stay) -> NDArray[np.bool_]:
    """(N,) the rows whose ids are to be decided on."""
    return np.concatenate([stay(texts) for texts in _texts(rows)])


def _texts(rows: TableRows) -> Iterator[pa.ChunkedArray]:
    """The ids of all rows, as texts, some hundred thousand at a time."""
    waiting: list[pa.Array] = []
    for table in rows.tables.read(range(len(rows.tables.numbers)), ["id"]):
        waiting += id_texts(table["id"]).chunks
        if sum(map(len, waiting)) >= IDS_AT_ONCE:
            yield pa.chunked_array(waiting, pa.large_string())
            waiting = []
    yield pa.chunked_array(waiting, pa.large_string())


def kept_ids(of_set: StayingSet) -> pa.ChunkedArray:
    """The ids, as texts, of the clips of a set that stay."""
    found = [one for source in of_set.sources for one in source.read()]
    stay, gone = (
        pa.chunked_array([chunk for one in found if one.stay == stays for chunk in one.texts.chunks], pa.large_string())
        for stays in (True, False)
    )
    return stay.filter(pc.invert(pc.is_in(stay, value_set=gone)))


def counts_of(decisions: Decisions) -> dict[str, int]:
    """Kept and removed rows, orphans (removed rows without a kept row within eps), and groups of duplicates."""
    num_removed = int(decisions.removed.sum())
    return {
        "kept": len(decisions.removed) - num_removed,
        "removed": num_removed,
        "orphans": decisions.num_orphans(),
        "groups": len(decisions.grouped()[1]),
    }


def clip_facts(rows: TableRows, removed: NDArray[np.bool_], clips: Folder | None) -> ClipFacts:
    """The facts that the clip index tells; nothing is known of rows that it does not hold, or where there is none."""
    facts = ClipFacts.unknown(len(rows), int(np.count_nonzero(removed)))
    if clips is None:
        return facts
    gone_rows = np.flatnonzero(removed).astype(row_type(len(rows)))
    known = np.zeros(len(rows), np.bool_)
    codes: dict[str, int] = {}
    for batch in clip_index_batches(clips, ["id", "source_video", *CLIP_TIMES]):
        for row, line in _new_rows(rows.index.find(id_texts(batch["id"])), known):
            known[row] = True
            facts.sources.code[row] = codes_of_names(batch["source_video"], codes)[line]
            gone = removed[row]
            facts.times[np.searchsorted(gone_rows, row[gone].astype(gone_rows.dtype))] = _times(batch)[line[gone]]
    return ClipFacts(Sources(facts.sources.code, list(codes)), facts.times)


def _new_rows(found: NDArray[np.int64], known: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """The rows of a batch that are there and not known yet, with their lines; of several lines for a row the first one."""
    line = np.flatnonzero(found >= 0)
    line = line[~known[found[line]]]
    row, first = np.unique(found[line], return_index=True)
    if len(row):
        yield row, line[first]


def _times(batch: pa.Table) -> NDArray[np.float64]:
    return np.stack([pc.fill_null(batch[name], 0.0).to_numpy() for name in CLIP_TIMES], axis=1)


def write_decisions(
    context: RunContext, state: StageState, decisions: Decisions, facts: ClipFacts, *, below: str = "",
    with_groups: bool = True,
) -> None:  # fmt: skip
    """Write the files of the decisions; unchanged ones are left alone. `below` is a prefix of their paths: ``duplicates/``.

    The parts are always written. The tables and lists of all clips are left out where there are more than
    `SINGLE_FILE_ROWS`.
    """
    parts, rows = PartsOfDecisions(decisions, facts, with_groups), decisions.rows
    spans, done = part_spans(rows.starts), part_inputs(state)
    with workplace(context, state, here=True) as place:
        sendings = [
            Sending.of(place, state, number, len(spans), rows, decisions.rule.eps, below, done, with_groups=with_groups)
            for number in range(len(spans))
        ]

        def send(number: int, *, anew: bool = False) -> str:
            sending = sendings[number]
            return send_part(replace(sending, done="") if anew else sending, parts.rows(*spans[number]))

        inputs = [send(number) for number in range(len(spans))]
        write_parts(place, state, done, sendings, inputs, lambda: send(0, anew=True), with_groups=with_groups)


def warn_of_emptied_sources(decisions: Decisions, sources: Sources) -> tuple[int, tuple[str, ...]]:
    """How many sources lose over half of their rows to kept rows of the same source, and a warning if there are some."""
    codes = sources.code
    rows = np.flatnonzero(decisions.removed & (codes >= 0))
    kept_rows = decisions.kept_row[rows]
    known = (kept_rows >= 0) & (kept_rows < len(codes))
    rows, kept_rows = rows[known], kept_rows[known]
    own = codes[rows] == codes[kept_rows]
    num_rows = np.bincount(codes[codes >= 0], minlength=len(sources.names))
    lost = np.bincount(codes[rows[own]], minlength=len(sources.names))
    emptied = np.flatnonzero(2 * lost > num_rows)
    if not len(emptied):
        return 0, ()
    worst = int(emptied[np.lexsort((emptied, -lost[emptied]))[0]])
    found = EmptiedSources(len(emptied), sources.names[worst], int(lost[worst]), int(num_rows[worst]))
    return found.number, (found.warning(decisions.rule),)
