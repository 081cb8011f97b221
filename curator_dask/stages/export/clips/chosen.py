"""The clips to export: all that is known of a clip meets in one bucket, and what is chosen there stays as one row.

::

    clip index, decisions, media files, scores, quality ── by the place of each id ──> buckets ── join ──> rows to export
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.data.ids import id_texts
from curator_dask.errors import InputError
from curator_dask.export.planned.columns import QUALITY, plain_columns, record_schema, records_of
from curator_dask.export.planned.keys import check_ids
from curator_dask.export.planned.ordering import PLACE
from curator_dask.export.samples import QUALITY_NOT_KNOWN, ClipRecord
from curator_dask.export.shards import media_fault
from curator_dask.files.buckets.buckets import Buckets, buckets_for
from curator_dask.files.buckets.meeting import gather, rows_of
from curator_dask.files.buckets.places import places
from curator_dask.files.names import counted
from curator_dask.runtime.records import Failure
from curator_dask.stages.export.clips.keep_list import check_numbers
from curator_dask.stages.export.clips.sources import DROPPED, KEPT, LISTED, PLAIN, REMOVED, SCORES, Sources

if TYPE_CHECKING:
    import pyarrow as pa

IS_PLAIN: Final = "is_plain"
"""A column: the clip is too plain for a vector, and so no decision names it."""

SHOWN: Final = 3
"""Ids that a message names."""


@dataclass
class Chosen:
    """The clips to export, and those that cannot be."""

    rows: Buckets
    """Rows of `record_schema` with `IS_PLAIN` and `PLACE`, in buckets by place."""
    with_quality: bool
    failures: list[Failure] = field(default_factory=list)
    """Of chosen clips whose media file is not as it was recorded."""
    num_plain_failed: int = 0
    num_known: int = 0
    """Clips that would be exported without a keep list and with all media."""
    num_chosen: int = 0
    """Those of them that the keep list names; all of them if there is none."""
    num_undecided: int = 0
    """Clips with a media file that no decision names, and that are not plain: they have no vector, or came later."""
    undecided: list[str] = field(default_factory=list)
    """The first of their ids."""


@dataclass
class _List:
    """What is found about the keep list, bucket by bucket."""

    num_ids: int = 0
    num_twice: int = 0
    num_others: int = 0
    others: list[str] = field(default_factory=list)

    def add(self, listed: pa.Array, known: Any) -> None:
        """Compare ids of the list with those of clips that could be exported."""
        import pyarrow.compute as pc

        once = listed.unique()
        others = once.filter(pc.invert(pc.is_in(once, value_set=known)))
        self.num_ids, self.num_twice = self.num_ids + len(listed), self.num_twice + len(listed) - len(once)
        self.num_others += len(others)
        names = (one.decode("utf-8", "surrogateescape") for one in others.to_pylist())
        self.others = nsmallest(SHOWN, [*self.others, *names])

    def check(self, path: str) -> None:
        """Raise InputError if the list is empty, names a clip twice, or names others than the known ones."""
        check_numbers(path, self.num_ids, self.num_twice)
        if self.num_others:
            raise InputError(
                f"{path} names {counted(self.num_others, 'clips')} that would not be exported without it, as they were "
                f"removed, are plain, or are not there; for example {', '.join(map(repr, self.others))}. Make the list anew"
            )


def choose(sources: Sources, seed: int, scratch: Path) -> Chosen:
    """The clips to export, with all that is known of them. Memory holds one bucket; the others are files in `scratch`.

    Raises InputError if there is nothing to export, if an id occurs twice, or if the keep list is not one of these clips.
    """
    meeting = _Meeting(sources, seed, scratch)
    for number in range(meeting.num_buckets):
        meeting.join(number)
    meeting.check()
    return meeting.chosen


class _Meeting:
    """Buckets in which all that is known of a clip meets."""

    def __init__(self, sources: Sources, seed: int, scratch: Path) -> None:
        self.sources, self._seed, self._scratch = sources, seed, scratch
        self.num_buckets = buckets_for(sources.num_clips())
        self._knows_quality = False
        self._marks = self._gather(sources.marks())
        self._index = self._gather(map(self._usable, sources.index()))
        self._media, self._scores = self._gather(sources.media()), self._gather(sources.scored())
        self._quality = self._gather(sources.quality())
        self._knows_quality = self._knows_quality or self._quality is not None
        rows = Buckets(scratch, self.num_buckets, _schema(with_quality=self._knows_quality))
        self.chosen, self._list = Chosen(rows, self._knows_quality), _List()

    def _gather(self, tables: Iterable[pa.Table]) -> Buckets | None:
        return gather(tables, self._scratch, self.num_buckets, self._seed)

    def _usable(self, rows: pa.Table) -> pa.Table:
        """The rows of the index that have a file, with quality columns only if it has all of them."""
        import pyarrow.compute as pc

        if not set(QUALITY) <= set(rows.column_names):
            rows = rows.drop_columns([name for name in QUALITY if name in rows.column_names])
        elif rows[QUALITY[0]].null_count < len(rows):
            self._knows_quality = True
        has_file = pc.and_(rows["valid"], pc.not_equal(pc.fill_null(rows["clip_path"], ""), ""))
        return rows.filter(has_file).drop_columns(["valid", "clip_path"])

    def join(self, number: int) -> None:
        """Choose among the clips of one bucket."""
        if self._index is None:
            return
        rows = self._index.read(number)
        ids, marked = id_texts(rows["id"]).combine_chunks(), _Marked.of(self._marks, number)
        is_plain, is_wanted = self._wanted(ids, marked)
        self._note_undecided(ids, marked)
        rows, is_plain = rows.filter(is_wanted), is_plain.filter(is_wanted)
        self.chosen.num_known += len(rows)
        if self.sources.keep_list is not None:
            ids = ids.filter(is_wanted)
            self._list.add(marked.ids[LISTED], ids.cast(marked.ids[LISTED].type))
            is_listed = marked.has(ids, LISTED)
            rows, is_plain = rows.filter(is_listed), is_plain.filter(is_listed)
        self.chosen.num_chosen += len(rows)
        self._add(self._known(rows, number).append_column(IS_PLAIN, is_plain), number)

    def _wanted(self, ids: Any, marked: _Marked) -> tuple[Any, Any]:
        """Which clips are too plain for a vector, and which are to be exported."""
        import pyarrow.compute as pc

        is_plain, decisions = marked.has(ids, PLAIN), (KEPT, REMOVED, DROPPED)
        if self.sources.decisions is None:
            return is_plain, pc.or_(pc.invert(is_plain), self.sources.keeps_plain)
        for decision in decisions:
            is_plain = pc.and_not(is_plain, marked.has(ids, decision))
        return is_plain, pc.or_(marked.has(ids, KEPT), pc.and_(is_plain, self.sources.keeps_plain))

    def _note_undecided(self, ids: Any, marked: _Marked) -> None:
        """Count the clips of which nothing was decided: the decisions are those of clips with a vector."""
        if self.sources.decisions is None:
            return
        is_known = np.zeros(len(ids), bool)
        for mark in (KEPT, REMOVED, DROPPED, PLAIN):
            is_known |= marked.has(ids, mark).to_numpy(zero_copy_only=False)
        left: list[str] = ids.filter(~is_known).to_pylist()
        self.chosen.num_undecided += len(left)
        self.chosen.undecided = nsmallest(SHOWN, [*self.chosen.undecided, *left])

    def _known(self, rows: pa.Table, number: int) -> pa.Table:
        """The records of these rows of the index, with scores and quality. Raises InputError if an id occurs twice."""
        ids = id_texts(rows["id"]).combine_chunks()
        if self._scores is not None:
            rows = _with_scores(rows, ids, self._scores.read(number))
        records = plain_columns(rows)
        check_ids(records["id"])
        if self._knows_quality:
            beside = self._quality.read(number) if self._quality is not None else None
            for name, values in _quality(rows, ids, beside).items():
                records = records.append_column(name, values)
        return records

    def _add(self, records: pa.Table, number: int) -> None:
        """Keep the clips whose media file is as it was recorded, and a failure for each of the others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        at = pa.nulls(len(records), pa.int32())
        sizes = pa.array([], pa.int64())
        if self._media is not None:
            media = self._media.read(number)
            at, sizes = rows_of(records["id"], media), media["num_bytes"]
        sizes = sizes.take(at)
        is_good = pc.fill_null(pc.equal(sizes, records["num_bytes"]), False)
        good, bad = records.filter(is_good), records.filter(pc.invert(is_good))
        self.chosen.rows.add(
            good.append_column(PLACE, pa.array(places(good["id"], self._seed))), np.full(len(good), number, np.int64)
        )
        self.chosen.num_plain_failed += pc.sum(bad[IS_PLAIN]).as_py() or 0
        found = sizes.filter(pc.invert(is_good)).to_pylist()
        self.chosen.failures += [_failure(*one) for one in zip(records_of(bad), found, strict=True)]

    def check(self) -> None:
        """Raise InputError if nothing can be exported, or if the keep list names other clips."""
        sources = self.sources
        if not self.chosen.num_known:
            raise InputError(
                f"nothing to export: no kept clip of {(sources.decisions or sources.clips).url} has a file in "
                f"{sources.clips.url}. Check that split wrote the clips (no --no-upload-clips) and that "
                "duplicates_path was made from them"
            )
        if sources.keep_list is not None:
            self._list.check(sources.keep_list)
        if not self.chosen.rows.num_rows:
            raise InputError(
                f"nothing to export: none of the {self.chosen.num_chosen} chosen clips has its media file in "
                f"{sources.clips.url}"
            )


@dataclass(frozen=True)
class _Marked:
    """The ids of a bucket by their marks, as bytes."""

    ids: Mapping[int, Any]

    @staticmethod
    def of(marks: Buckets | None, number: int) -> _Marked:
        import pyarrow as pa
        import pyarrow.compute as pc

        if marks is None:
            return _Marked(dict.fromkeys(range(LISTED + 1), pa.array([], pa.large_binary())))
        table = marks.read(number)
        ids, mark = (table[name].combine_chunks() for name in ("id", "mark"))
        return _Marked({one: ids.filter(pc.equal(mark, one)) for one in range(LISTED + 1)})

    def has(self, ids: Any, mark: int) -> Any:
        """(n,) whether each id has the mark."""
        import pyarrow.compute as pc

        return pc.is_in(ids.cast(self.ids[mark].type), value_set=self.ids[mark])


def _schema(*, with_quality: bool) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([*record_schema(with_quality=with_quality), (IS_PLAIN, pa.bool_()), (PLACE, pa.uint64())])


def _with_scores(rows: pa.Table, ids: Any, scores: pa.Table) -> pa.Table:
    """The rows with what similarity tables say of them in place of what they say themselves."""
    import pyarrow as pa
    import pyarrow.compute as pc

    scores = scores.take(pa.array(np.arange(len(scores))[::-1]))  # of equal ids the last one counts
    at = rows_of(ids, scores)
    for name in SCORES:
        values = scores[name].take(at)
        if name not in rows.column_names:
            rows = rows.append_column(name, values)
        else:
            own = rows[name].cast(values.type)
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pc.if_else(at.is_valid(), values, own))
    return rows


def _quality(rows: pa.Table, ids: Any, beside: pa.Table | None) -> dict[str, Any]:
    """The quality columns: those of the index, else those of the table beside the vectors, else numbers that say "not known"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.chunked_array([pa.nulls(len(rows), pa.float64())])
    found = {name: rows[name] if name in rows.column_names else nothing for name in QUALITY}
    if beside is not None:
        at, is_own = rows_of(ids, beside), found[QUALITY[0]].is_valid()
        found = {name: pc.if_else(is_own, found[name], beside[name].take(at)) for name in QUALITY}
    is_known = found[QUALITY[0]].is_valid()
    return {name: pc.if_else(is_known, found[name], getattr(QUALITY_NOT_KNOWN, name)) for name in QUALITY}


def _failure(record: ClipRecord, num_bytes: int | None) -> Failure:
    return Failure("export", record.source_video, "media", str(media_fault(record, num_bytes)), record.id)
