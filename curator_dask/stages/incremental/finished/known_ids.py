"""Hand out, on the client, the ids of the finished runs and of the input in buckets; the client holds the names of the files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curator_dask.data.clusters import count_rows
from curator_dask.data.vector_source import Chunk, VectorSource
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import shared_buckets_for
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.runtime.waiting import gather
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.finished.id_buckets import (
    SHOWN,
    IdBuckets,
    find_doubled,
    write_finished_ids,
    write_hashes,
    write_input_ids,
    write_known_rows,
)

GROUP_BYTES = 256 << 20
"""The files of clusters whose ids a task reads have about this many bytes, vectors included."""
LEAST_BYTES_OF_NUMBER = 2
"""A number of a vector takes at least about this many bytes of a file. It tells how many rows a file has at most."""


@dataclass(frozen=True)
class IdExchange:
    """Where ids meet: a folder that all workers reach, and the client."""

    client: Any
    folder: Folder
    say: Callable[[str], None]

    def gather(self, function: Callable[..., Any], *lists: Sequence[Any], **shared: Any) -> list[Any]:
        """The results of a task per item of the lists."""
        return gather(self.client, self.client.map(function, *lists, **shared, pure=False), self.say)


def share_known_ids(exchange: IdExchange, finished: FinishedRuns, input_bytes: int, dimension: int) -> IdBuckets:
    """Write the ids of all finished runs in buckets. Raises InputError if there are no clusters.

    Args:
        exchange: where to.
        finished: the runs.
        input_bytes: size of the files of new vectors, whose ids are to meet these in as many buckets.
        dimension: length of a vector.
    """
    groups = [group for folder, entries in finished.cluster_files() for group in _groups(folder, entries)]
    num_rows = sum(exchange.gather(_count_rows, groups))
    most_new = input_bytes // (LEAST_BYTES_OF_NUMBER * dimension)
    num_buckets = shared_buckets_for(max(num_rows, most_new))
    paths = exchange.gather(
        write_finished_ids,
        groups,
        _names("known", len(groups)),
        id_field=finished.id_field,
        output=exchange.folder,
        num_buckets=num_buckets,
    )
    return IdBuckets(exchange.folder, num_buckets, tuple(paths))


def digest_known_ids(exchange: IdExchange, known: IdBuckets) -> str:
    """Digest of the different ids, in the order of their hashes. Their hashes pass through the client, a bucket at a time."""
    numbers = range(known.num_buckets)
    paths = exchange.gather(write_hashes, numbers, _names("hashes", known.num_buckets), known=known)
    found = hashlib.sha256()
    for path in paths:
        found.update(exchange.folder.read_bytes(path))
    return found.hexdigest()[:32]


def find_known_rows(
    exchange: IdExchange, source: VectorSource, chunks: Sequence[Chunk], known: IdBuckets
) -> tuple[str, ...]:
    """Files that say for each chunk of the input which of its ids are known: `read_known_rows` reads them."""
    shared: dict[str, Any] = {"output": exchange.folder, "num_buckets": known.num_buckets}
    paths = exchange.gather(write_input_ids, chunks, _names("input", len(chunks)), source=source, **shared)
    new = replace(known, paths=tuple(paths))
    numbers = range(known.num_buckets)
    found = exchange.gather(write_known_rows, numbers, _names("found", len(numbers)), known=known, new=new)
    return tuple(found)


def refuse_doubled_ids(exchange: IdExchange, new: IdBuckets) -> None:
    """Raise InputError if two new rows share an id; the error names some."""
    found = exchange.gather(find_doubled, range(new.num_buckets), new=new)
    total = sum(part.number for part in found)
    if total:
        shown = ", ".join(sorted(name for part in found for name in part.first)[:SHOWN])
        raise InputError(f"{counted(total, 'doubled new ids')}, for example {shown}: ids must be unique")


def _names(what: str, number: int) -> list[str]:
    return [f"{what}-{index:06d}" for index in range(number)]


def _groups(folder: Folder, entries: Sequence[Entry]) -> list[tuple[Folder, list[str]]]:
    groups: list[tuple[Folder, list[str]]] = []
    filled = GROUP_BYTES
    for entry in entries:
        if filled >= GROUP_BYTES:
            groups.append((folder, []))
            filled = 0
        groups[-1][1].append(entry.path)
        filled += entry.num_bytes
    return groups


def _count_rows(files: tuple[Folder, list[str]]) -> int:
    return count_rows(*files)
