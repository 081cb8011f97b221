"""Refuse ids that occur twice: hashes of the ids meet on the workers, a range of them at a time, and never in the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_array, id_list, id_text
from curator_dask.data.vector_source import Chunk, VectorSource, read_rows
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.errors import InputError
from curator_dask.files.names import counted
from curator_dask.runtime.waiting import gather

RANGE_ROWS: Final = 1 << 24
"""About so many hashes, of 8 bytes each, meet on one worker; it needs their memory twice."""
MOST_LOOKED_AT: Final = 1000
"""So many doubled hashes are enough to name some ids."""


class Doubled(NamedTuple):
    """The hashes of a range that occur more than once."""

    number: int
    first: NDArray[np.uint64]
    """The lowest of them, at most `MOST_LOOKED_AT`."""


def refuse_doubled_ids(
    client: Any,
    source: VectorSource,
    seed: int,
    chunks: Sequence[Chunk],
    held: Sequence[Any],
    num_rows: int,
    say: Callable[[str], None],
) -> None:
    """Raise InputError if two rows share an id; the error names some.

    Args:
        client: the Dask client.
        source: the vectors and their columns.
        seed: of the hashes.
        chunks: the whole input.
        held: futures of the hashes of the ids of each chunk (`sample_priority`).
        num_rows: in all chunks.
        say: hears of it if there are no workers.
    """
    bits = (-(-num_rows // RANGE_ROWS) - 1).bit_length()
    tasks = [
        client.submit(_find_doubled, client.map(_hashes_in, held, number=number, bits=bits, pure=False), pure=False)
        for number in range(1 << bits)
    ]
    found: list[Doubled] = gather(client, tasks, say)
    total = sum(part.number for part in found)
    if not total:
        return
    # Different ids can have equal hashes of 64 bits, so compare the ids themselves.
    hashes = np.concatenate([part.first for part in found])[:MOST_LOOKED_AT]
    with_hashes = client.map(_ids_with, chunks, source=source, hashes=hashes, seed=seed, pure=False)
    ids = [identifier for part in gather(client, with_hashes, say) for identifier in part]
    names = sorted({id_text(identifier) for identifier in ids if ids.count(identifier) > 1})
    if names:
        shown = ", ".join(names[:5])
        raise InputError(
            f"{counted(total, 'doubled ids')}, for example {shown}: ids must be unique. "
            "Does the folder hold the same vectors twice, or those of two runs?"
        )


def _hashes_in(hashes: NDArray[np.uint64], *, number: int, bits: int) -> NDArray[np.uint64]:
    """The hashes whose first `bits` bits are this number."""
    return hashes[hashes >> np.uint64(64 - bits) == number] if bits else hashes


def _find_doubled(parts: Sequence[NDArray[np.uint64]]) -> Doubled:
    hashes = np.concatenate(parts)
    hashes.sort()
    doubled = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    return Doubled(len(doubled), doubled[:MOST_LOOKED_AT])


def _ids_with(chunk: Chunk, *, source: VectorSource, hashes: NDArray[np.uint64], seed: int) -> list[Any]:
    ids = read_rows(source, chunk).ids
    chosen = np.isin(sample_priority(id_array(ids), seed), hashes)
    return [identifier for identifier, is_doubled in zip(id_list(ids), chosen, strict=True) if is_doubled]
