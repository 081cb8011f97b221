"""Read the output of the align stage: spans and sources of the clips, and the overlaps of clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.dedup.decide.standing import standing_overlaps
from curator_dask.dedup.decide.stretches import SECOND, Indices, Overlaps, joined_overlaps
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import OVERLAPS_TABLE

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


def texts_of(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts of the ids of a table."""
    return id_texts(plain_ids(ids))


def micros(seconds: pa.ChunkedArray, folder: Folder, path: str) -> Indices:
    """Seconds as microseconds. Raises InputError if one is missing."""
    return np.rint(_finite(seconds, folder, path) * SECOND).astype(np.int64)


def _finite(values: Any, folder: Folder, path: str) -> NDArray[np.float64]:
    """Numbers as float64. Raises InputError if one is missing."""
    numbers: NDArray[np.float64] = values.to_numpy().astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{folder.join(path)} has rows without a number for a time or a score: run align again")
    return numbers
