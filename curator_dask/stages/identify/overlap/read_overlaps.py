"""Read the output of the align stage: spans and sources of the clips, and the overlaps of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.data.tables import open_parquet, row_group_tables
from curator_dask.dedup.decide.standing import standing_overlaps
from curator_dask.dedup.decide.stretches import SECOND, Indices, Overlaps, joined_overlaps
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, OVERLAPS_TABLE
from curator_dask.stages.identify.decisions.clip_facts import codes_of_names

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("identical", "copy", "shifted", "mirrored", "still")
TIMES = ("start_s", "end_s", "other_start_s", "other_end_s", "offset_s")
SCORES = ("picture", "motion")
COLUMNS = ("id", "other_id", "kind", *TIMES, *SCORES)
"""The columns of the table of overlaps that are read."""


IN_REFERENCE = "reference"
"""The column that marks clips of a reference in the table of clips. Their ids may be those of rows too."""
OTHER_NUMBER = "other_reference_number"
"""The column that numbers the reference of `other_id` in the table of overlaps; 0 for none."""


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
class ClipSpans:
    """Where N clips lie in their sources."""

    source: NDArray[np.int32]
    """(N,) the place in `names`. A clip that the align stage does not know is a source of its own, with its id for a name."""
    names: list[str]
    start: Indices
    """(N,) microseconds."""
    length: Indices
    """(N,) microseconds; 0 for a clip that the align stage does not know."""


@dataclass(frozen=True)
class FoundOverlaps:
    """E overlaps of rows, for the decision, and what the table of duplicates says of them."""

    overlaps: Overlaps
    offset_s: NDArray[np.float64]
    """(E,) second t of `row` shows what second t - offset_s of `other` shows."""
    kind: pa.Array
    """(E,) text."""


def with_standing_pictures(found: FoundOverlaps) -> FoundOverlaps:
    """The overlaps, and those that follow from them by way of clips with the same standing picture, of the kind ``still``."""
    import pyarrow as pa

    more = standing_overlaps(found.overlaps)
    offset_s = (more.span[:, 0] - more.other_span[:, 0]) / SECOND
    kind = pa.concat_arrays([found.kind, pa.array(["still"] * len(more), found.kind.type)])
    return FoundOverlaps(joined_overlaps(found.overlaps, more), np.concatenate([found.offset_s, offset_s]), kind)


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
    import pyarrow.compute as pc

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


def overlaps_of(table: pa.Table, row: Indices, other: Indices, folder: Folder) -> FoundOverlaps:
    """The overlaps in some lines of the table, of the clips `row` and `other`."""
    import pyarrow.compute as pc

    kind = pc.cast(table["kind"].combine_chunks(), "string")
    times = {name: micros(table[name], folder, OVERLAPS_TABLE) for name in TIMES}
    overlaps = Overlaps(
        row, other,
        np.stack([times["start_s"], times["end_s"]], axis=1),
        np.stack([times["other_start_s"], times["other_end_s"]], axis=1),
        pc.equal(kind, "still").to_numpy(zero_copy_only=False),
        _strength(table, kind, folder),
    )  # fmt: skip
    return FoundOverlaps(overlaps, table["offset_s"].to_numpy(), kind)


def _no_overlaps() -> FoundOverlaps:
    import pyarrow as pa

    nothing, spans = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    overlaps = Overlaps(nothing, nothing, spans, spans, np.zeros(0, np.bool_), nothing)
    return FoundOverlaps(overlaps, np.zeros(0), pa.array([], pa.string()))


def _joined(found: Sequence[FoundOverlaps]) -> FoundOverlaps:
    import pyarrow as pa

    overlaps = Overlaps(
        *(np.concatenate([getattr(one.overlaps, column.name) for one in found]) for column in fields(Overlaps))
    )
    offset_s = np.concatenate([one.offset_s for one in found])
    return FoundOverlaps(overlaps, offset_s, pa.concat_arrays([one.kind for one in found]))


def _strength(table: pa.Table, kind: pa.Array, folder: Folder) -> Indices:
    """(E,) thousandths. Identical clips have 1000, still pictures their `picture`, and all others their `motion`."""
    import pyarrow.compute as pc

    unknown = [one for one in pc.unique(kind).to_pylist() if one not in KINDS]
    if unknown:
        raise InputError(
            f"{folder.join(OVERLAPS_TABLE)} has overlaps of the unknown kind {unknown[0]!r}: run align again"
        )
    picture, motion = (_finite(table[name], folder, OVERLAPS_TABLE) for name in SCORES)
    is_kind = {name: pc.equal(kind, name).to_numpy(zero_copy_only=False) for name in KINDS}
    score = np.where(is_kind["identical"], 1.0, np.where(is_kind["still"], picture, motion))
    strength: Indices = np.rint(np.clip(score, 0, 1) * 1000).astype(np.int64)
    return strength


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


def texts_of(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts of the ids of a table."""
    return id_texts(plain_ids(ids))


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


def micros(seconds: pa.ChunkedArray, folder: Folder, path: str) -> Indices:
    """Seconds as microseconds. Raises InputError if one is missing."""
    return np.rint(_finite(seconds, folder, path) * SECOND).astype(np.int64)


def _finite(values: Any, folder: Folder, path: str) -> NDArray[np.float64]:
    """Numbers as float64. Raises InputError if one is missing."""
    numbers: NDArray[np.float64] = values.to_numpy().astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{folder.join(path)} has rows without a number for a time or a score: run align again")
    return numbers
