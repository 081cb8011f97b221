"""Rows on their way to cells, and votes on their way to groups: Arrow files with one record batch per receiver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.in_cells.cells import PROBES, nearest_cells, picture_rows
from curator_dask.dedup.align.in_cells.votes import StillVotes
from curator_dask.dedup.align.line import Stretches
from curator_dask.dedup.align.seeds import Seeds, Segments
from curator_dask.files.folder import Folder
from curator_dask.stages.align.batch_files import byte_column, read_batch_of_all, rows_of_bytes, split_by, write_batches
from curator_dask.stages.align.spec import CellSpec

if TYPE_CHECKING:
    import pyarrow as pa

MOVING, SHORT, STILL = "moving", "short", "still"
VOTES = "votes"
_WIDTH = {MOVING: 198, SHORT: 132, STILL: 64}


def read_centres(spec: CellSpec, kind: str) -> NDArray[np.float32]:
    """(cells, D) the centres of all cells."""
    return read_whole_rows(spec.align.output, [spec.centres(kind)], kind).astype(np.float32)


def read_whole_rows(folder: Folder, paths: Iterable[str], kind: str) -> NDArray[np.int8]:
    """(N, D) the rows of all files of whole numbers."""
    data = bytearray()
    for path in paths:
        data += folder.read_bytes(path)
    return np.frombuffer(data, np.int8).reshape(-1, _WIDTH[kind])


def write_moving_rows(
    spec: CellSpec, group: int, kind: str, segments: Segments, thin: NDArray[np.bool_]
) -> dict[str, int]:
    """Write each segment to its nearest cell, and the thin ones to the nearest few."""
    import pyarrow as pa

    rows = segments.rows if len(segments) else np.zeros((0, _WIDTH[kind]), np.float32)

    table = pa.table(
        {
            "line": segments.line + spec.first_lines[group],
            "first": segments.start,
            "row": byte_column(rows.astype(np.int8)),
        }
    )
    return _write_rows(spec, kind, group, table, rows, thin)


def write_still_rows(spec: CellSpec, group: int, stretches: Stretches) -> dict[str, int]:
    """Write each still stretch to its nearest cell, and to the nearest few."""
    import pyarrow as pa

    pictures = stretches.pictures if len(stretches.line) else np.zeros((0, 1024), np.uint8)
    table = pa.table(
        {
            "line": stretches.line + spec.first_lines[group],
            "first": stretches.first,
            "stop": stretches.stop,
            "row": byte_column(pictures),
        }
    )
    return _write_rows(spec, STILL, group, table, picture_rows(pictures), np.ones(len(pictures), np.bool_))


def _write_rows(
    spec: CellSpec, kind: str, group: int, table: pa.Table, rows: NDArray[np.float32], thin: NDArray[np.bool_]
) -> dict[str, int]:
    """Every row once for its own cell, then the thin ones once for each cell that they are compared in."""
    import pyarrow as pa

    centres = read_centres(spec, kind)
    nearest, probes = nearest_cells(rows, centres, 1)[:, 0], nearest_cells(rows[thin], centres, PROBES)
    place = np.concatenate([np.arange(len(rows)), np.repeat(np.flatnonzero(thin), probes.shape[1])])
    cell = np.concatenate([nearest, probes.ravel()])
    every = table.take(pa.array(place)).append_column("cell", pa.array(cell))
    every = every.append_column("thin", pa.array(np.arange(len(cell)) >= len(rows)))
    part = cell.astype(np.int64) * spec.num_parts // len(centres)
    path = spec.path(kind, group)
    return {path: write_batches(spec.align.output, path, every.schema, split_by(every, part, spec.num_parts))}


def read_cells(spec: CellSpec, kind: str, part: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows to compare with each other: per cell of a part, all new rows and the thin ones, then those of the reference
    and the new thin ones."""
    for whole, thin in _cells_of(spec, kind, part):
        new, new_thin = (table["line"].to_numpy() < spec.num_new_lines for table in (whole, thin))
        for some, others in ((whole.filter(new), thin), (whole.filter(~new), thin.filter(new_thin))):
            if len(some) and len(others):
                yield some, others


def _cells_of(spec: CellSpec, kind: str, part: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """All rows and the thin rows of each cell of a part that has both."""
    import pyarrow as pa

    table = read_batch_of_all(spec.align.output, spec.paths(kind), part)
    cell, thin = table["cell"].to_numpy(), table["thin"].to_numpy()
    order = np.lexsort((np.arange(len(cell)), thin, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        whole, probes = rows[~thin[rows]], rows[thin[rows]]
        if len(whole) and len(probes):
            yield table.take(pa.array(whole)), table.take(pa.array(probes))


def segments_in(table: pa.Table) -> Segments:
    """The segments of a cell."""
    rows = rows_of_bytes(table["row"], np.int8).astype(np.float32)
    return Segments(rows, table["line"].to_numpy(), table["first"].to_numpy())


def stretches_in(table: pa.Table) -> Stretches:
    """The still stretches of a cell."""
    line, first, stop = (table[name].to_numpy() for name in ("line", "first", "stop"))
    return Stretches(line, first, stop, rows_of_bytes(table["row"], np.uint8))


def write_votes(spec: CellSpec, kind: str, part: int, votes: Iterable[Seeds] | Iterable[StillVotes]) -> dict[str, int]:
    """Write the votes of a part, each for the group of its earlier line."""
    import pyarrow as pa

    names, dtypes = _vote_columns(kind)
    parts = [[getattr(one, name) for name in names] for one in votes]
    columns: list[NDArray[Any]] = [
        np.concatenate([np.zeros(0, dtype), *(one[place] for one in parts)]).astype(dtype)
        for place, dtype in enumerate(dtypes)
    ]
    table = pa.table(dict(zip(names, columns, strict=True)))
    group = np.searchsorted(np.array(spec.first_lines), table["line_x"].to_numpy(), side="right") - 1
    path = spec.path(f"{kind}-{VOTES}", part)
    return {path: write_batches(spec.align.output, path, table.schema, split_by(table, group, spec.num_groups))}


def read_moving_votes(spec: CellSpec, group: int, kind: str) -> Seeds:
    """The votes of seeds for a group, of all parts."""
    return Seeds(*_read_votes(spec, kind, group))


def read_still_votes(spec: CellSpec, group: int) -> list[tuple[int, int, int, int, int, int, float]]:
    """The still votes for a group, each pair once: line, first and stop of one side, then of the other; likeness."""
    return sorted(set(zip(*(column.tolist() for column in _read_votes(spec, STILL, group)), strict=True)))


def _read_votes(spec: CellSpec, kind: str, group: int) -> list[NDArray[Any]]:
    table = read_batch_of_all(spec.align.output, spec.paths_of_parts(f"{kind}-{VOTES}"), group)
    return [table[name].to_numpy() for name in _vote_columns(kind)[0]]


def _vote_columns(kind: str) -> tuple[list[str], list[type]]:
    names = list((StillVotes if kind == STILL else Seeds).__dataclass_fields__)
    dtypes: dict[str, type] = {"score": np.float32, "likeness": np.float64}
    return names, [dtypes.get(name, np.int64) for name in names]
