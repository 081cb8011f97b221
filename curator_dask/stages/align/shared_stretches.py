"""From overlaps of lines to overlaps of clips: which part of which clip shows which part of which other clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from curator_dask.dedup.align.line import WINDOW_S
from curator_dask.dedup.align.runs import Overlap
from curator_dask.stages.align.lines import ClipsOnLine

if TYPE_CHECKING:
    import pyarrow as pa

IDENTICAL_MOTION = 0.999
MIRRORED = "mirrored"
SHIFTED_S = 0.5
"""Copies whose offset is larger than this, against the starts of their clips, are called shifted."""


@dataclass(frozen=True)
class SharedStretch:
    """One row of ``overlaps.parquet``. Seconds count from the first frame of each clip."""

    id: str
    other_id: str
    start_s: float
    end_s: float
    other_start_s: float
    other_end_s: float
    offset_s: float
    picture: float
    motion: float
    energy: float
    kind: str
    other_reference: bool = False
    """Whether `other_id` is a clip of a reference; `id` never is."""
    other_reference_number: int = 0
    """The number of that reference, from 1; 0 for none."""


def overlap_schema() -> pa.Schema:
    """The columns of ``overlaps.parquet``."""
    import pyarrow as pa

    text, number, score = pa.string(), pa.float64(), pa.float32()
    kinds = [text, text, number, number, number, number, number, score, score, score, text, pa.bool_(), pa.int32()]
    return pa.schema(list(zip(SharedStretch.__dataclass_fields__, kinds, strict=True)))


def overlap_table(stretches: list[SharedStretch]) -> pa.Table:
    """The rows of a unit, sorted."""
    import pyarrow as pa

    rows = sorted(astuple(stretch) for stretch in stretches)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(overlap_schema())
    arrays = [pa.array(column, one.type) for column, one in zip(columns, overlap_schema(), strict=True)]
    return pa.Table.from_arrays(arrays, schema=overlap_schema())


def shared_stretches(x: ClipsOnLine, y: ClipsOnLine, overlap: Overlap) -> Iterator[SharedStretch]:
    """What each clip of x and each clip of y share of an overlap of their lines. A clip shares nothing with itself.

    Clips of a reference are those of y.
    """
    for i in _clips_within(x, overlap.first_x, overlap.stop_x):
        for j in _clips_within(y, overlap.first_y, overlap.stop_y):
            if y.reference or x.ids[i] != y.ids[j]:
                stretch = _still(x, i, y, j, overlap) if overlap.still else _moving(x, i, y, j, overlap)
                if stretch is not None:
                    yield stretch


def is_first_of_twins(line: int, mirrored_line: int, overlap: Overlap) -> bool:
    """A line beside a mirrored one shows what the other line beside the first one, mirrored, shows: one of both counts."""
    return line < mirrored_line or (line == mirrored_line and overlap.first_x > overlap.first_y)


def _clips_within(clips: ClipsOnLine, first: int, stop: int) -> list[int]:
    return [int(i) for i in ((clips.first < stop) & (clips.stop > first)).nonzero()[0]]


def _still(x: ClipsOnLine, i: int, y: ClipsOnLine, j: int, overlap: Overlap) -> SharedStretch | None:
    start, end = _part(x, i, overlap.first_x, overlap.stop_x)
    other_start, other_end = _part(y, j, overlap.first_y, overlap.stop_y)
    return _stretch(x, i, y, j, (start, end, other_start, other_end), start - other_start, overlap, "still")


def _moving(x: ClipsOnLine, i: int, y: ClipsOnLine, j: int, overlap: Overlap) -> SharedStretch | None:
    # Second t of clip i is second t - offset_s of clip j.
    offset_s = overlap.offset / 4 - x.start_s[i] + y.start_s[j]
    start, end = _part(x, i, overlap.first_x, overlap.stop_x)
    other_start, other_end = _part(y, j, overlap.first_y, overlap.stop_y)
    start, end = max(start, other_start + offset_s), min(end, other_end + offset_s)
    if end - start < WINDOW_S:
        return None
    identical = overlap.motion >= IDENTICAL_MOTION and overlap.offset % 2 == 0
    kind = "shifted" if abs(offset_s) > SHIFTED_S else "identical" if identical else "copy"
    parts = (start, end, start - offset_s, end - offset_s)
    return _stretch(x, i, y, j, parts, offset_s, overlap, MIRRORED if y.mirrored else kind)


def _part(clips: ClipsOnLine, i: int, first: int, stop: int) -> tuple[float, float]:
    """The part of a clip within [first, stop) of its line, in seconds of the clip."""
    start, end = max(first, int(clips.first[i])), min(stop, int(clips.stop[i]))
    return (start - int(clips.first[i])) * WINDOW_S, (end - int(clips.first[i])) * WINDOW_S


def _stretch(
    x: ClipsOnLine, i: int, y: ClipsOnLine, j: int,
    parts: tuple[float, float, float, float], offset_s: float, overlap: Overlap, kind: str,
) -> SharedStretch:  # fmt: skip
    """The row of two clips; the new clip is `id`, or of two new clips the one whose id comes first."""
    start, end, other_start, other_end = parts
    numbers = (overlap.picture, overlap.motion, overlap.energy, kind, y.reference > 0, y.reference)
    if y.reference or x.ids[i] < y.ids[j]:
        return SharedStretch(x.ids[i], y.ids[j], start, end, other_start, other_end, offset_s, *numbers)
    return SharedStretch(y.ids[j], x.ids[i], other_start, other_end, start, end, 0.0 - offset_s, *numbers)
