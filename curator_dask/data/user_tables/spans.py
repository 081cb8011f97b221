"""Spans of videos from a user's table: the columns ``path``, ``start`` and ``end``, in seconds from the first frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.data.user_tables.carried import carried_values, kind_of
from curator_dask.data.user_tables.csv_kinds import PATTERNS
from curator_dask.data.user_tables.names import AMBIGUOUS, UNKNOWN, Names
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError
from curator_dask.files.names import counted, printable
from curator_dask.video.spans import TOLERANCE_S

PATHS: Final = (
    "path",
    "source_video",
    "relative_path",
    "source",
    "video",
    "video_path",
    "file",
    "filename",
    "file_name",
)
STARTS: Final = ("start", "start_s")
ENDS: Final = ("end", "end_s")
SHOWN: Final = 10
"""Rows that a message names."""

Seconds = NDArray[np.float64]
Pairs = tuple[tuple[float, float], ...]
"""Starts and ends in seconds, in order."""


@dataclass(frozen=True)
class UserSpans:
    """The spans of a table, by the number of their video."""

    of_video: Mapping[int, Pairs]
    counts: Mapping[str, int]
    """All rows, and those that name no video, several videos, or a span that an earlier row has."""
    sentences: Sequence[str]
    """What a person should know of rows that are not used."""


def span_columns(table: UserTable) -> tuple[str, str, str]:
    """The columns with the paths, starts and ends, in any case of letters. Raises InputError where one is not there."""
    by_name = {name.strip().lower(): name for name in reversed(table.columns())}
    found = [next((by_name[name] for name in names if name in by_name), None) for names in (PATHS, STARTS, ENDS)]
    if None in found:
        what = ("path", "start", "end")[found.index(None)]
        shown = ", ".join(map(printable, table.columns()))
        raise InputError(
            f"{table.shown} has no column {what!r}: a table of spans has path, start and end. Its columns: {shown}"
        )
    path, start, end = (str(name) for name in found)
    return path, start, end


def read_spans(table: UserTable, videos: Sequence[tuple[str, str]]) -> UserSpans:
    """The spans of these videos, each a relative and a full path.

    Raises InputError for rows whose start and end are no seconds, are negative, or are not in this order; it names the
    first ten.
    """
    names = Names.of_videos(videos)
    columns = span_columns(table)
    parts, bad, unknown = [], _Examples(), {UNKNOWN: _Examples(), AMBIGUOUS: _Examples()}
    num_rows = 0
    for batch in table.batches(columns):
        cells = id_texts(plain_ids(batch[columns[0]]))
        numbers = names.find(cells)
        starts_s, ends_s = (_seconds(table, name, batch[name]) for name in columns[1:])
        is_good = (starts_s >= 0) & (ends_s > starts_s)  # false for NaN
        bad.add(_bad_rows(~is_good, num_rows, batch, columns), int(np.sum(~is_good)))
        for what, examples in unknown.items():
            examples.add(
                (cells[int(at)].as_py() or "" for at in np.flatnonzero(numbers == what)), int(np.sum(numbers == what))
            )
        known = numbers >= 0
        parts.append((numbers[known], starts_s[known], ends_s[known]))
        num_rows += len(numbers)
    if bad.number:
        raise InputError(
            f"{table.shown} has {counted(bad.number, 'rows')} without a span, which has a start of at least 0 and an end after "
            f"it, both in seconds: {bad.shown('; ')}"
        )
    of_video, doubled = _sorted_out(parts)
    counts = {
        "span_rows": num_rows,
        "span_rows_unmatched": unknown[UNKNOWN].number,
        "span_rows_ambiguous": unknown[AMBIGUOUS].number,
        "span_rows_doubled": doubled,
    }
    return UserSpans(of_video, counts, list(_sentences(table, counts, unknown)))


class _Examples:
    """How many there are of something, and the first of them as text."""

    def __init__(self) -> None:
        self.number = 0
        self._first: list[str] = []

    def add(self, texts: Iterator[str], number: int) -> None:
        self.number += number
        while number and len(self._first) < SHOWN and (text := next(texts, None)) is not None:
            self._first.append(text)

    def shown(self, between: str = ", ") -> str:
        return between.join(self._first) + (f"{between}…" if self.number > len(self._first) else "")


def _seconds(table: UserTable, name: str, cells: Any) -> Seconds:
    """(N,) float64; NaN where a cell holds no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.is_text:
        trimmed = pc.utf8_trim_whitespace(cells)
        numbers = pc.if_else(pc.match_substring_regex(trimmed, PATTERNS["float"]), trimmed, None)
    elif kind_of(name, cells.type) in ("int", "float"):
        numbers = carried_values(name, cells)
    else:
        raise InputError(f"column {printable(name)!r} of {table.shown} is of type {cells.type}: it must hold seconds")
    found: Seconds = pc.fill_null(numbers.cast(pa.float64()), float("nan")).to_numpy()
    return found


def _bad_rows(is_bad: NDArray[np.bool_], before: int, batch: Any, columns: Sequence[str]) -> Iterator[str]:
    for at in np.flatnonzero(is_bad).tolist():
        path, start, end = (printable(str(batch[name][at].as_py()))[:80] for name in columns)
        yield f"row {before + at + 1} ({path!r}, start {start!r}, end {end!r})"


def _sorted_out(parts: Sequence[tuple[NDArray[np.int64], Seconds, Seconds]]) -> tuple[dict[int, Pairs], int]:
    """The spans of each video in order, and how many were left out as they are there twice."""
    if not parts:
        return {}, 0
    videos, starts_s, ends_s = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((ends_s, starts_s, videos))
    found: dict[int, list[tuple[float, float]]] = {}
    doubled = 0
    for video, start_s, end_s in zip(
        videos[order].tolist(), starts_s[order].tolist(), ends_s[order].tolist(), strict=True
    ):
        spans = found.setdefault(video, [])
        if _is_there(spans, start_s, end_s):
            doubled += 1
        else:
            spans.append((start_s, end_s))
    return {video: tuple(spans) for video, spans in found.items()}, doubled


def _is_there(spans: Sequence[tuple[float, float]], start_s: float, end_s: float) -> bool:
    """Whether one of the spans, in order of their starts, is the same within the tolerance."""
    near = itertools.takewhile(lambda span: start_s - span[0] <= TOLERANCE_S, reversed(spans))
    return any(abs(end_s - span[1]) <= TOLERANCE_S for span in near)


def _sentences(table: UserTable, counts: Mapping[str, int], unknown: Mapping[int, _Examples]) -> Iterator[str]:
    for what, told in ((UNKNOWN, "name no video of the input"), (AMBIGUOUS, "name several videos by one file name")):
        if unknown[what].number:
            rows = f"{unknown[what].number:,} of {counts['span_rows']:,}"
            yield f"spans {table.shown}: rows that {told}: {rows}: {printable(unknown[what].shown())}"
    if counts["span_rows_doubled"]:
        yield f"spans {table.shown}: rows that repeat a span, which is cut once: {counts['span_rows_doubled']:,}"
