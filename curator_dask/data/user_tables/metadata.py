"""Rows of a user's table, joined to clips: by the clip's id, or by its source video.

The table is read twice: first to see what its columns hold and which of them names clips or videos, then to take the rows
of the wanted clips. So only these are in memory, as the JSON that a sample gets.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.data.tables import require_columns
from curator_dask.data.user_tables.carried import carried_values, kind_of
from curator_dask.data.user_tables.csv_kinds import csv_kinds, csv_values
from curator_dask.data.user_tables.names import AMBIGUOUS, UNKNOWN, Names
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

KEYS: Final = (
    "clip_id", "id", "span_uuid", "source_video", "relative_path", "source", "path", "video", "video_path", "video_id",
    "file", "filename", "file_name", "name", "url",
)  # fmt: skip
"""Columns that may name clips or videos, in any case of letters. Of those that do, the one with most hits is the key."""
MAX_ROW_BYTES: Final = 512 << 10
"""The most that one row may be as JSON, and the most that a caption may have."""
SHOWN: Final = 5


@dataclass(frozen=True)
class Choice:
    """What is taken from a table."""

    key: str | None = None
    columns: Sequence[str] | None = None
    caption_column: str | None = None

    def carried(self, table: UserTable, key: str) -> list[str]:
        """The columns that go into the JSON: those that were named, else all but the key and the caption."""
        if self.columns is not None:
            return list(self.columns)
        return [name for name in table.columns() if name not in ("", key, self.caption_column)]

    def check(self, table: UserTable) -> None:
        """Raise InputError where the table lacks a column that is named, or has none that could be the key."""
        names = table.columns()
        require_columns(table.shown, names, self._named())
        if self.key is None and not key_columns(names):
            raise InputError(
                f"no column of {table.shown} has a name that tells of clips or videos ({', '.join(KEYS)}); its columns are "
                f"{', '.join(map(printable, names))}. Name the one that does with metadata_key"
            )

    def _named(self) -> list[str]:
        named = (self.key, *(self.columns or ()), self.caption_column)
        return list(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class ClipNames:
    """All clips of an output and their videos, and which of these clips are wanted."""

    ids: Sequence[str]
    videos: Sequence[tuple[str, str]]
    """The relative and the full path of each video."""
    video_of: Sequence[int]
    """(N,) the number of each clip's video."""
    wanted: Collection[str]

    def by_kind(self) -> dict[str, Names]:
        return {"clip": Names.of_clips(self.ids), "video": Names.of_videos(self.videos)}

    def key_of(self, kind: str) -> dict[str, int]:
        """Wanted clip → the number of what names it, the clip itself or its video."""
        numbers = range(len(self.ids)) if kind == "clip" else self.video_of
        return {clip_id: number for clip_id, number in zip(self.ids, numbers, strict=True) if clip_id in self.wanted}


@dataclass
class _Rows:
    """The rows that were found, by the number of what they name."""

    found: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    doubled: set[int] = field(default_factory=set)
    num_rows: int = 0
    unmatched: list[str] = field(default_factory=list)
    num_unmatched: int = 0
    ambiguous: list[str] = field(default_factory=list)
    num_ambiguous: int = 0

    def add(self, number: int, row: tuple[str, str | None]) -> None:
        if self.found.setdefault(number, row) != row:
            self.doubled.add(number)


@dataclass(frozen=True)
class Metadata:
    """What a table says of the wanted clips."""

    kinds: Mapping[str, str]
    """Carried column → its kind in JSON, see `carried`."""
    rows: Mapping[str, tuple[str, str | None]]
    """Clip id → the carried columns as one JSON object, and the caption; only clips that a row names."""
    doubled: Collection[str]
    """Clips that rows with different values name: none of these rows is taken."""
    num_rows: int
    num_unmatched: int
    num_ambiguous: int
    sentences: Sequence[str]
    """What a person should know: which rows could not be used."""

    @property
    def without_row(self) -> str:
        """The JSON object of a clip that no row names."""
        return json.dumps(dict.fromkeys(self.kinds))


def join_metadata(table: UserTable, choice: Choice, clips: ClipNames) -> Metadata:
    """The rows of the table that name wanted clips.

    Raises InputError where no row names any clip of the output, where a column is missing or holds what cannot be carried,
    and where a row is too long.
    """
    choice.check(table)
    names = clips.by_kind()
    candidates = [choice.key] if choice.key is not None else key_columns(table.columns())
    key, kind = _key(table, candidates, names)
    reader = _reader(table, key, choice)
    key_of = clips.key_of(kind)
    rows = reader.read(names[kind], set(key_of.values()))
    good = {clip_id: number for clip_id, number in key_of.items() if number not in rows.doubled}
    found = {clip_id: rows.found[number] for clip_id, number in good.items() if number in rows.found}
    doubled = sorted(key_of.keys() - good.keys())
    unnamed = ["a column without a name is left out"] if "" in table.columns() and choice.columns is None else []
    sentences = [*unnamed, *_sentences(rows, kind, doubled)]
    return Metadata(
        reader.kinds, found, doubled, rows.num_rows, rows.num_unmatched, rows.num_ambiguous,
        [f"metadata {table.shown}: {sentence}" for sentence in sentences],
    )  # fmt: skip


def key_columns(names: Sequence[str]) -> list[str]:
    """The columns that may be the key, by their names, the likeliest first."""
    likely = [name for name in names if name.strip().lower() in KEYS]
    return sorted(likely, key=lambda name: KEYS.index(name.strip().lower()))


def _key(table: UserTable, candidates: Sequence[str], names: Mapping[str, Names]) -> tuple[str, str]:
    """The column that names most, and whether it names clips or videos."""
    hits = dict.fromkeys(((column, kind) for column in candidates for kind in names), 0)
    example = ""
    for batch in table.batches(candidates):
        for column in candidates:
            cells = _texts(batch[column])
            example = example or next((cell for cell in cells.to_pylist() if cell), "")
            for kind in names:
                hits[column, kind] += int(np.sum(names[kind].find(cells) != UNKNOWN))
    best = max(hits, key=lambda one: hits[one])
    if not hits[best]:
        known = [next(iter(names[kind].numbers), "") for kind in ("clip", "video")]
        raise InputError(
            f"no row of {table.shown} names a clip or a video of this output, by {' or '.join(map(printable, candidates))}; "
            f"a cell is {printable(example)[:200]!r}, while a clip is {known[0]!r} and a video {printable(known[1])!r}"
        )
    return best


def _texts(cells: Any) -> Any:
    return id_texts(plain_ids(cells))


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of some clips or videos."""

    table: UserTable
    key: str
    carried: Sequence[str]
    caption: str | None
    known: Mapping[str, str]
    """The kinds of the carried columns and of the caption."""

    @property
    def kinds(self) -> dict[str, str]:
        return {name: self.known[name] for name in self.carried}

    def read(self, names: Names, wanted: Collection[int]) -> _Rows:
        rows = _Rows()
        targets = np.array(sorted(wanted), np.int64)
        for batch in self.table.batches(list(dict.fromkeys((self.key, *self.known)))):
            cells = _texts(batch[self.key])
            numbers = names.find(cells)
            _note(rows, numbers, cells)
            is_wanted = np.isin(numbers, targets)
            for number, row in zip(numbers[is_wanted].tolist(), self._rows(batch, is_wanted), strict=True):
                rows.add(number, row)
        return rows

    def _rows(self, batch: pa.Table, is_wanted: Any) -> Iterator[tuple[str, str | None]]:
        import pyarrow as pa

        some = batch.filter(pa.array(is_wanted))
        columns = {name: self._values(name, some[name]).to_pylist() for name in self.known}
        captions = columns[self.caption] if self.caption is not None else [None] * len(some)
        for at, caption in enumerate(captions):
            text = json.dumps({name: columns[name][at] for name in self.carried}, allow_nan=False)
            told = None if self.caption is None else "" if caption is None else str(caption)
            self._check_size(text, told)
            yield text, told

    def _values(self, name: str, cells: Any) -> Any:
        return csv_values(cells, self.known[name]) if self.table.is_text else carried_values(name, cells)

    def _check_size(self, text: str, caption: str | None) -> None:
        if max(len(text), len((caption or "").encode())) > MAX_ROW_BYTES:
            raise InputError(
                f"a row of {self.table.shown} is longer than {MAX_ROW_BYTES >> 10} KiB: {printable(text[:100])!r}… Choose "
                "the columns to carry with metadata_columns"
            )


def _reader(table: UserTable, key: str, choice: Choice) -> _Reader:
    carried, caption = choice.carried(table, key), choice.caption_column
    columns = list(dict.fromkeys((*carried, *([caption] if caption is not None else []))))
    if table.is_text:
        found = csv_kinds(table.batches(columns)) if columns else {}
        known = {name: found.get(name, "str") for name in columns}
    else:
        types = table.types()
        known = {name: kind_of(name, types[name]) for name in columns}
    if caption is not None and known[caption].startswith("list["):
        raise InputError(f"caption_column {printable(caption)!r} holds lists: name a column of texts")
    return _Reader(table, key, carried, caption, known)


def _note(rows: _Rows, numbers: Any, cells: Any) -> None:
    """Count the rows, and keep some of the cells that name nothing or several videos."""
    rows.num_rows += len(numbers)
    for what, examples in ((UNKNOWN, rows.unmatched), (AMBIGUOUS, rows.ambiguous)):
        where = np.flatnonzero(numbers == what)
        examples += [cells[int(at)].as_py() or "" for at in where[: SHOWN - len(examples)]]
    rows.num_unmatched += int(np.sum(numbers == UNKNOWN))
    rows.num_ambiguous += int(np.sum(numbers == AMBIGUOUS))


def _sentences(rows: _Rows, kind: str, doubled: Sequence[str]) -> Iterator[str]:
    if rows.num_unmatched:
        yield f"rows that name no {kind} of this output: {rows.num_unmatched:,} of {rows.num_rows:,}: {_some(rows.unmatched)}"
    if rows.num_ambiguous:
        several = f"rows that name several videos by one file name: {rows.num_ambiguous:,} of {rows.num_rows:,}"
        yield f"{several}: {_some(rows.ambiguous)}"
    if doubled:
        yield f"clips that get nothing, as rows of different values name them: {len(doubled):,}: {_some(doubled[:SHOWN])}"


def _some(examples: Sequence[str]) -> str:
    return ", ".join(repr(printable(one)[:80]) for one in examples) + (", …" if len(examples) == SHOWN else "")
