"""The overlaps of the clips to decide on, chunk by chunk, on workers: their clips as numbers, and which sources they join."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices, Overlaps
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.overlap.read_overlaps import COLUMNS, FoundOverlaps, overlaps_of, texts_of
from curator_dask.stages.identify.source_groups.connect import Labels, write_links
from curator_dask.stages.identify.source_groups.meet import SIDES
from curator_dask.stages.identify.source_groups.rows import DROPPED, STAYING
from curator_dask.stages.identify.source_groups.tables_of_align import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

SPANS = ("span", "other_span")


@dataclass(frozen=True)
class OverlapsTask:
    """Find the clips of the overlaps of one chunk."""

    chunk: Chunk
    found: str
    """Path of the file to write with those of two known clips."""
    links: str
    """The same with the sources that these join."""


class NumOverlaps(NamedTuple):
    """What the client has to know of a chunk."""

    all: int
    ours: int
    """Those of two known clips, or of a row and a clip of some reference."""


def find_overlaps(task: OverlapsTask, folder: Folder, sides: tuple[str, ...]) -> NumOverlaps:
    """Write the overlaps of known clips.

    Args:
        sides: the files that name the clips, in buckets by chunk.

    Raises InputError where a value is none.
    """
    import pyarrow as pa

    table, number = task.chunk.read(COLUMNS)
    clip, node = _of_sides(task.chunk, len(table), read_shared(folder, sides, task.chunk.number))
    known = (clip >= 0).all(axis=1)
    ours = known if number is None else known | ((clip[:, 0] >= 0) & (clip[:, 0] < DROPPED) & (number > 0))
    some = table.filter(pa.array(known))
    row, other = clip[known].T
    found = overlaps_of(some, row, other, task.chunk.folder)
    texts = {name: _texts(some[column], clip[known, at]) for at, (name, column) in enumerate(TEXTS.items())}
    columns = {**_columns(found), **texts, "node": node[known, 0]}
    write_shared(folder, task.found, pa.table(columns), np.zeros(int(np.count_nonzero(known)), np.int64), 1)
    write_links(folder, task.links, *node[known].T)
    return NumOverlaps(len(table), int(np.count_nonzero(ours)))


TEXTS = {"text": "id", "other_text": "other_id"}


def _of_sides(chunk: Chunk, num_lines: int, sides: pa.Table | None) -> tuple[Indices, NDArray[np.uint64]]:
    """(n, 2) each: the clips of each overlap, and the nodes of their sources."""
    clip, node = np.full(SIDES * num_lines, -1), np.zeros(SIDES * num_lines, np.uint64)
    if sides is not None:
        place = sides["place"].to_numpy() - SIDES * chunk.first
        clip[place], node[place] = sides["clip"].to_numpy(), sides["node"].to_numpy()
    return clip.reshape(-1, SIDES), node.reshape(-1, SIDES)


def _texts(ids: pa.ChunkedArray, clip: Indices) -> pa.Array:
    """The ids of clips that stay, as texts; null for all others."""
    import pyarrow as pa

    stays = (clip >= STAYING) & (clip < DROPPED)
    if not stays.any():
        return pa.nulls(len(clip), pa.large_string())
    place = np.cumsum(stays) - 1
    return texts_of(ids.filter(pa.array(stays))).combine_chunks().take(pa.array(place, mask=~stays))


def _columns(found: FoundOverlaps) -> dict[str, Any]:
    overlaps = found.overlaps
    plain = {one.name: getattr(overlaps, one.name) for one in fields(Overlaps) if one.name not in SPANS}
    ends = {f"{name}_{at}": getattr(overlaps, name)[:, at] for name in SPANS for at in range(2)}
    return {**plain, **ends, "offset_s": found.offset_s, "kind": found.kind}


def overlaps_in(table: pa.Table) -> FoundOverlaps:
    """The overlaps of such a table."""
    columns = {one.name: table[one.name].to_numpy() for one in fields(Overlaps) if one.name not in SPANS}
    spans = {name: np.stack([table[f"{name}_{at}"].to_numpy() for at in range(2)], axis=1) for name in SPANS}
    kind = table["kind"].combine_chunks()
    return FoundOverlaps(Overlaps(**columns, **spans), table["offset_s"].to_numpy(), kind)


@dataclass(frozen=True)
class SendTask:
    """Bring the overlaps of one chunk to the groups of sources that they are of."""

    found: str
    written: str


def send_overlaps(task: SendTask, labels: Labels) -> str:
    """Write them in buckets by group; returns the path."""
    table = read_shared(labels.folder, [task.found], 0)
    if table is None:
        return ""
    group = labels.groups_of(table["node"].to_numpy())
    return write_shared(labels.folder, task.written, table.drop_columns(["node"]), group, labels.num_groups)
