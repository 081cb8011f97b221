"""Where the clips of rows come from, as the clip index tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.stages.identify.decisions.own_source import Sources

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


def codes_of_names(names: pa.ChunkedArray, codes: dict[str, int]) -> NDArray[np.int32]:
    """The numbers of sources; new names get the next ones, a null gets -1."""
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(names).combine_chunks()
    number = [codes.setdefault(name, len(codes)) for name in coded.dictionary.to_pylist()]
    places = pc.fill_null(coded.indices, len(number)).to_numpy(zero_copy_only=False)
    found: NDArray[np.int32] = np.array([*number, -1], np.int32)[places]
    return found
