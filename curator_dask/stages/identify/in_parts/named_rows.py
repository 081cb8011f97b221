"""Rows that are named by their ids, by rows of other clusters or by a person: found in all parts, in as many tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_text, id_texts, one_type, stored
from curator_dask.errors import InputError
from curator_dask.report.review.overrides import Override
from curator_dask.stages.identify.decisions.by_hand import ids_by_hand
from curator_dask.stages.identify.decisions.join_decisions import stored_type
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows
from curator_dask.stages.identify.in_parts.look import FindTask, Look, find_in_part
from curator_dask.stages.identify.in_parts.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {"max_id": "max_row", "kept_id": "kept_row"}
"""The columns that name rows by their ids, and those that do so by their numbers."""


@dataclass(frozen=True)
class NamedRows:
    """Rows are numbers among all N; ids that no row has get those from N on."""

    named: dict[str, tuple[Indices, Indices]]
    """By column, rows, ascending, and those that they name."""
    others: pa.ChunkedArray
    """The ids from N on, as they stand in files."""
    by_hand: Indices
    """The rows of `ids_by_hand`; -1 for an id that no row has."""
    num_rows: int

    def matches_of(self, rows: Indices) -> Indices:
        """The rows that are best matches of some rows, which name them by their ids, or are their own.

        Raises InputError if one is no row.
        """
        naming, named = self.named["max_row"]
        if not len(naming):
            return rows
        at = np.minimum(np.searchsorted(naming, rows), len(naming) - 1)
        found: Indices = np.where(naming[at] == rows, named[at], rows)
        lost = found[found >= self.num_rows]
        if len(lost):
            name = id_text(self.others[int(lost[0]) - self.num_rows].as_py())
            raise InputError(f"a similarity table names {name!r}, which is in no cluster: run the pairwise stage again")
        return found


def find_named_rows(
    place: Workplace, tasks: Sequence[FindTask], looks: Sequence[Look], rows: TableRows,
    overrides: Mapping[str, Override],
) -> NamedRows:  # fmt: skip
    """Find the rows that the looks at all parts named, and those that a person decided on.

    Args:
        tasks: one per part.
    """
    import pyarrow as pa

    found = [(name, *one) for name in COLUMNS for look in looks for one in look.named[name]]
    ids = (
        pa.concat_arrays(one_type([one for *_, one in found])).cast(rows.id_type)
        if found
        else pa.array([], rows.id_type)
    )
    texts = [id_texts(pa.chunked_array([ids])).cast(pa.large_string()), ids_by_hand(overrides)]
    numbers = _find(place, tasks, pa.chunked_array([chunk for one in texts for chunk in one.chunks], pa.large_string()))
    named, by_hand = numbers[: len(ids)], numbers[len(ids) :]
    coded = stored(ids).filter(pa.array(named < 0)).dictionary_encode()
    named[named < 0] = coded.indices.to_numpy().astype(np.int64) + len(rows)
    kind = stored_type(rows.id_type)
    others = pa.chunked_array([coded.dictionary.cast(kind)], kind)
    return NamedRows(_by_column(found, named), others, by_hand, len(rows))


def _by_column(found: Sequence[tuple[str, Indices, Any]], named: Indices) -> dict[str, tuple[Indices, Indices]]:
    ends = np.cumsum([0, *(len(rows) for _, rows, _ in found)]).tolist()
    columns = {}
    for name, column in COLUMNS.items():
        own = [
            (rows, named[start:stop])
            for (of, rows, _), start, stop in zip(found, ends, ends[1:], strict=False)
            if of == name
        ]
        nothing = np.zeros(0, np.int64)
        naming, them = zip((nothing, nothing), *own, strict=True)
        columns[column] = (np.concatenate(naming), np.concatenate(them))
    return columns


def _find(place: Workplace, tasks: Sequence[FindTask], texts: pa.ChunkedArray) -> Indices:
    """The row of each id, the first one if there are several; -1 for one that is not there."""
    import pyarrow as pa

    if not len(texts):
        return np.zeros(0, np.int64)
    coded = pa.concat_arrays(texts.chunks).dictionary_encode()
    index = RowIndex.of(list(id_digests(pa.chunked_array([coded.dictionary])).T))
    none = np.iinfo(np.int64).max
    rows = np.full(len(coded.dictionary), none)
    for found in place.each(find_in_part, tasks, index):
        np.minimum.at(rows, found["place"].to_numpy(), found["row"].to_numpy())
    of_each: Indices = np.where(rows == none, -1, rows)[coded.indices.to_numpy()]
    return of_each
