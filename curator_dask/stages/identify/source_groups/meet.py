"""Bring together what is known of the ids of one bucket, on a worker: rows, their spans, and the overlaps that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.settling.named_rows import halves_of
from curator_dask.stages.identify.source_groups.staying import StayingSet

if TYPE_CHECKING:
    import pyarrow as pa

SIDES: Final = 2
"""An overlap has two."""


@dataclass(frozen=True)
class Meeting:
    """The files of all buckets."""

    folder: Folder
    rows: tuple[str, ...]
    dropped: tuple[str, ...]
    spans: tuple[str, ...]
    sides: tuple[str, ...]
    staying: tuple[str, ...]
    sets: tuple[StayingSet, ...]
    """In the order in which ids are looked for."""
    firsts: Indices
    """(P,) the first row of each part."""
    first_lines: Indices
    """The first line of each chunk of overlaps."""


@dataclass(frozen=True)
class BucketTask:
    """Bring one bucket together."""

    number: int
    spans: str
    """Path of the file to write with the spans of rows, in buckets by part."""
    sides: str
    """The same with the clips that overlaps name, in buckets by chunk."""


def meet(task: BucketTask, meeting: Meeting) -> None:
    """Find the spans of the rows, and the clips that overlaps name."""
    rows = _read(meeting, meeting.rows, task.number)
    known = _with_spans(rows, _read(meeting, meeting.spans, task.number))
    part = np.searchsorted(meeting.firsts, known["row"].to_numpy(), side="right") - 1
    write_shared(meeting.folder, task.spans, known, part, len(meeting.firsts))
    sides = _named(meeting, task.number, known)
    chunk = np.searchsorted(meeting.first_lines * SIDES, sides["place"].to_numpy(), side="right") - 1
    write_shared(meeting.folder, task.sides, sides, chunk, max(len(meeting.first_lines), 1))


def _read(meeting: Meeting, paths: tuple[str, ...], number: int) -> pa.Table | None:
    return read_shared(meeting.folder, paths, number)


def _with_spans(rows: pa.Table | None, spans: pa.Table | None) -> pa.Table:
    """Digest, row, source (null for a row that align does not know), start, length and node of its source, of all rows."""
    import pyarrow as pa

    rows = rows if rows is not None else _no_rows()
    place = _places(rows, spans)
    there = place >= 0
    taken = pa.array(place, mask=~there)
    nothing = {"source": pa.nulls(len(rows), pa.large_string()), "start": None, "length": None, "node": None}
    found = nothing if spans is None else {name: spans[name].take(taken) for name in nothing}
    numbers = {name: _or(found[name], 0, len(rows), np.int64) for name in ("start", "length")}
    node = np.where(there, _or(found["node"], 0, len(rows), np.uint64), rows["high"].to_numpy())
    return rows.append_column("source", found["source"]).append_column("node", pa.array(node)).append_column(
        "start", pa.array(numbers["start"])
    ).append_column("length", pa.array(numbers["length"]))  # fmt: skip


def _or(values: pa.ChunkedArray | None, other: int, num: int, kind: type) -> NDArray[Any]:
    import pyarrow.compute as pc

    return np.full(num, other, kind) if values is None else pc.fill_null(values, other).to_numpy().astype(kind)


def _places(wanted: pa.Table, among: pa.Table | None) -> Indices:
    """(n,) where each digest stands in another table; -1 where it does not."""
    if among is None or not len(wanted):
        return np.full(len(wanted), -1)
    return RowIndex.of(list(halves_of(among).T)).find_digests(halves_of(wanted))


def _no_rows() -> pa.Table:
    import pyarrow as pa

    return pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("row", pa.int64())]).empty_table()


def _named(meeting: Meeting, number: int, rows: pa.Table) -> pa.Table:
    """The clip and its node for each side of the overlaps; -1 for a clip that is not there."""
    import pyarrow as pa

    sides = _read(meeting, meeting.sides, number)
    if sides is None:
        return pa.schema([("place", pa.int64()), ("clip", pa.int64()), ("node", pa.uint64())]).empty_table()
    of_set, node = sides["of_set"].to_numpy(), sides["high"].to_numpy().copy()
    clip = np.full(len(sides), -1)
    among_rows = _places(sides, rows if len(rows) else None)
    is_row = (among_rows >= 0) & (of_set <= 0)
    clip[is_row], node[is_row] = (rows[name].to_numpy()[among_rows[is_row]] for name in ("row", "node"))
    _take(clip, sides, of_set <= 0, _read(meeting, meeting.dropped, number), "row")
    staying = _read(meeting, meeting.staying, number)
    if staying is not None:
        _check_known(staying, [one.place for one in meeting.sets if not one.in_reference])
    for one in meeting.sets if staying is not None else ():
        _take(clip, sides, (of_set < 0) | (of_set == one.number), _kept_of(staying, one.place), "clip")
    return pa.table({"place": sides["place"], "clip": clip, "node": node})


def _check_known(staying: pa.Table, runs: Sequence[int]) -> None:
    """Raise InputError if a run removed a clip that no run has."""
    import pyarrow as pa

    removed = staying.filter(staying["text"].is_valid())
    clip, of_set = staying["clip"].to_numpy(), staying["of_set"].to_numpy()
    known = staying.filter(pa.array((clip >= 0) & np.isin(of_set, runs)))
    lost = np.flatnonzero(_places(removed, known) < 0)
    if len(lost):
        raise InputError(
            f"{removed['text'][int(lost[0])].as_py()} was removed, but is not in the k-means output: do kmeans_path and "
            "duplicates_path belong to the same runs?"
        )


def _take(clip: Indices, sides: pa.Table, counts: NDArray[np.bool_], among: pa.Table | None, name: str) -> None:
    """Note the clips of another table, where none was found before."""
    if among is None or not len(among):
        return
    place = _places(sides, among)
    found = counts & (clip < 0) & (place >= 0)
    clip[found] = among[name].to_numpy()[place[found]]


def _kept_of(staying: pa.Table, place: int) -> pa.Table:
    """The clips of one set, without those that were left out."""
    import pyarrow as pa

    of_set = staying.filter(pa.array(staying["of_set"].to_numpy() == place))
    left_out = pa.array(of_set["clip"].to_numpy() < 0)
    gone = of_set.filter(left_out)
    clips = of_set.filter(pa.array(of_set["clip"].to_numpy() >= 0))
    return clips.filter(pa.array(_places(clips, gone) < 0)) if len(gone) else clips
