"""Where the clips of rows come from, by the clip index: read in batches and joined by the digests of ids.

The client holds four bytes per row, 16 per removed row, and the name of each source video once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import clip_index_batches
from curator_dask.data.ids import id_texts
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.join_decisions import row_type
from curator_dask.stages.identify.decisions.own_source import Sources
from curator_dask.stages.identify.decisions.table_rows import TableRows

if TYPE_CHECKING:
    import pyarrow as pa

TIMES = ("start_s", "end_s")


@dataclass(frozen=True)
class ClipFacts:
    """Facts about N rows, R of which are removed."""

    sources: Sources
    times: NDArray[np.float64]
    """(R, 2) start and end of the removed rows in their sources, in seconds; 0 where they are not known."""

    @staticmethod
    def unknown(num_rows: int, num_removed: int) -> ClipFacts:
        return ClipFacts(Sources(np.full(num_rows, -1, np.int32), []), np.zeros((num_removed, 2)))


def clip_facts(rows: TableRows, removed: NDArray[np.bool_], clips: Folder | None) -> ClipFacts:
    """The facts that the clip index tells; nothing is known of rows that it does not hold, or where there is none."""
    facts = ClipFacts.unknown(len(rows), int(np.count_nonzero(removed)))
    if clips is None:
        return facts
    gone_rows = np.flatnonzero(removed).astype(row_type(len(rows)))
    known = np.zeros(len(rows), np.bool_)
    codes: dict[str, int] = {}
    for batch in clip_index_batches(clips, ["id", "source_video", *TIMES]):
        for row, line in _new_rows(rows.index.find(id_texts(batch["id"])), known):
            known[row] = True
            facts.sources.code[row] = codes_of_names(batch["source_video"], codes)[line]
            gone = removed[row]
            facts.times[np.searchsorted(gone_rows, row[gone].astype(gone_rows.dtype))] = _times(batch)[line[gone]]
    return ClipFacts(Sources(facts.sources.code, list(codes)), facts.times)


def _new_rows(found: NDArray[np.int64], known: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """The rows of a batch that are there and not known yet, with their lines; of several lines for a row the first one."""
    line = np.flatnonzero(found >= 0)
    line = line[~known[found[line]]]
    row, first = np.unique(found[line], return_index=True)
    if len(row):
        yield row, line[first]


def codes_of_names(names: pa.ChunkedArray, codes: dict[str, int]) -> NDArray[np.int32]:
    """The numbers of sources; new names get the next ones, a null gets -1."""
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(names).combine_chunks()
    number = [codes.setdefault(name, len(codes)) for name in coded.dictionary.to_pylist()]
    places = pc.fill_null(coded.indices, len(number)).to_numpy(zero_copy_only=False)
    found: NDArray[np.int32] = np.array([*number, -1], np.int32)[places]
    return found


def _times(batch: pa.Table) -> NDArray[np.float64]:
    import pyarrow.compute as pc

    return np.stack([pc.fill_null(batch[name], 0.0).to_numpy() for name in TIMES], axis=1)
