"""Decide on the sources of one group, on a worker, as if there were no others: no overlap joins them with those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import column_values
from curator_dask.dedup.decide.stretches import Indices, Overlaps
from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.overlap.decide_clips import ClipsToDecide, OverlapRule
from curator_dask.stages.identify.overlap.read_overlaps import ClipSpans, FoundOverlaps, with_standing_pictures
from curator_dask.stages.identify.source_groups.overlaps_of_rows import overlaps_in
from curator_dask.stages.identify.source_groups.rows import DROPPED

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Groups:
    """What all groups have in common."""

    folder: Folder
    rows: tuple[str, ...]
    """The files with the rows of all parts, in buckets by group."""
    overlaps: tuple[str, ...]
    """The same with the overlaps of all chunks."""
    ranks: tuple[tuple[str, str, bool], ...]
    """Each column that ranks: its name, that in the tables, and whether a row of any group has a null there."""
    rule: OverlapRule
    number: int
    """How many groups there are."""


@dataclass(frozen=True)
class GroupClips:
    """The clips of one group: rows, and then clips that stay, by their numbers among all."""

    clips: ClipsToDecide
    numbers: Indices
    """(n + m,) ascending."""
    rows: pa.Table
    """(n,) what is known of the rows."""
    texts: dict[int, str]
    """The ids of clips that stay, by their numbers."""


def read_group(groups: Groups, number: int) -> GroupClips | None:
    """The clips of one group; None if it has none."""
    rows, table = (read_shared(groups.folder, paths, number) for paths in (groups.rows, groups.overlaps))
    if rows is None or table is None:
        return None
    found = overlaps_in(table)
    ends = np.concatenate([found.overlaps.row, found.overlaps.other])
    numbers = np.union1d(rows["row"].to_numpy(), ends)
    clips = ClipsToDecide(
        len(rows),
        _spans(rows, int(np.count_nonzero(numbers < DROPPED))),
        {name: _values(rows, held, has_nulls) for name, held, has_nulls in groups.ranks},
        _with_places(found, numbers),
        lambda places: rows["text"].take(places).to_pylist(),
        groups.rule,
    )
    return GroupClips(clips, numbers[numbers < DROPPED], rows, _texts(table))


def _spans(rows: pa.Table, num_clips: int) -> ClipSpans:
    """Where the rows lie in their sources. It does not matter where clips lie that stay."""
    coded = rows["source"].combine_chunks().dictionary_encode()
    source = np.full(num_clips, -1, np.int32)
    start, length = np.zeros((2, num_clips), np.int64)
    source[: len(rows)] = coded.indices.to_numpy()
    start[: len(rows)], length[: len(rows)] = rows["start"].to_numpy(), rows["length"].to_numpy()
    return ClipSpans(source, coded.dictionary.to_pylist(), start, length)


def _values(rows: pa.Table, name: str, has_nulls: bool) -> NDArray[Any]:
    """A column that ranks. Truth values are objects where some row has none, as they are then in a column of all rows."""
    values = column_values(rows, name)
    return values.astype(np.object_) if has_nulls and values.dtype.kind == "b" else values


def _with_places(found: FoundOverlaps, numbers: Indices) -> FoundOverlaps:
    """The overlaps by places of clips, with those that follow from them; then without those of dropped clips."""
    import pyarrow as pa

    row, other = (np.searchsorted(numbers, ends) for ends in (found.overlaps.row, found.overlaps.other))
    every = with_standing_pictures(replace(found, overlaps=replace(found.overlaps, row=row, other=other)))
    first_dropped = int(np.searchsorted(numbers, DROPPED))
    if first_dropped == len(numbers):
        return every
    overlaps: Overlaps = every.overlaps
    stay = (overlaps.row < first_dropped) & (overlaps.other < first_dropped)
    return FoundOverlaps(overlaps[stay], every.offset_s[stay], every.kind.filter(pa.array(stay)))


def _texts(overlaps: pa.Table) -> dict[int, str]:
    known: dict[int, str] = {}
    for clip, text in (("row", "text"), ("other", "other_text")):
        there = overlaps.filter(overlaps[text].is_valid())
        known |= dict(zip(there[clip].to_pylist(), there[text].to_pylist(), strict=True))
    return known


def strengths_of_group(number: int, groups: Groups) -> list[int]:
    """The strengths of the stretches that count, ascending."""
    group = read_group(groups, number)
    levels: list[int] = [] if group is None else np.unique(group.clips.stretches.strength).tolist()
    return levels


def count_removed(number: int, groups: Groups, min_strength: int) -> int:
    """How many rows of a group go if overlaps of less strength do not count."""
    group = read_group(groups, number)
    return 0 if group is None else int(np.count_nonzero(group.clips.removed(min_strength)))


def all_strengths(found: Sequence[list[int]]) -> Indices:
    """The strengths of all groups, ascending."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *map(np.array, found)])).astype(np.int64)
