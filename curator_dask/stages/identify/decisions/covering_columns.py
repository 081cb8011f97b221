"""The columns of the table of duplicates that say which kept rows cover a removed one, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
from curator_dask.stages.identify.decisions.join_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa


def covering_columns(decisions: Decisions, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
    """``offset_s``, ``cover``, ``kind`` and ``kept_ids`` of some removed rows.

    The first three are null unless the rule is ``overlap``, for rows that a person removed, and for copies of a clip that
    a near neighbour replaced. By the other rules a row has one kept row at most.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    some, covered = pa.array(rows), decisions.covered
    if covered is None:
        names = {"offset_s": pa.float64(), "cover": pa.float64(), "kind": pa.string()}
        columns = {name: pa.nulls(len(rows), kind) for name, kind in names.items()}
        return {**columns, "kept_ids": _lists_of_one(decisions.kept_ids.take(some).cast(decisions.id_type))}
    kind = covered.kind.take(some)
    unknown = pc.is_null(kind).to_numpy(zero_copy_only=False)
    kept_ids = covered.ids.take(pa.array(covered.kept)).cast(decisions.id_type)
    lists = pa.ListArray.from_arrays(pa.array(covered.first, pa.int32()), _one_array(kept_ids))
    return {
        "offset_s": pa.array(covered.offset_s[rows], mask=unknown),
        "cover": pa.array(covered.share[rows], mask=unknown),
        "kind": kind,
        "kept_ids": lists.take(some),
    }


def reasons(decisions: Decisions, rows: NDArray[np.int64]) -> pa.Array:
    """Why some rows were removed: by a person, for a clip of a reference, or for a kept row."""
    import pyarrow as pa

    found = np.full(len(rows), "near-duplicate", object)
    if decisions.copies is not None:
        found[decisions.copies[rows]] = "copy"
    if decisions.covered is not None:
        found[decisions.covered.in_reference()[rows]] = "in-reference"
    if decisions.by_hand is not None:
        found[decisions.by_hand[rows]] = "override"
    return pa.array(found, pa.string())


def joined_lists(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of ids as texts, with semicolons between the ids. A backslash or semicolon in an id gets a backslash in front."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = _one_array(lists)
    texts = pc.replace_substring_regex(id_texts(pa.chunked_array([whole.flatten()])), r"([\\;])", r"\\\1")
    lengths = pc.fill_null(pc.list_value_length(whole), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.chunked_array(
        [pc.binary_join(pa.ListArray.from_arrays(offsets, _one_array(texts.cast(pa.string()))), ";")]
    )


def _lists_of_one(ids: pa.ChunkedArray) -> pa.ListArray:
    """A list with each id; an empty one for a null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    there = pc.is_valid(ids).to_numpy().astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(there)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _one_array(ids.drop_null()))


def _one_array(values: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
