"""Where the clips of all rows come from, by the clip index: joined by the digests of ids in buckets, on workers.

::

    clip index, a task per file   →  id digests, source, start, end   ┐ one bucket
    rows, a task per part         →  id digests, row                  ┘ → row, source, start, end → by part

A task per bucket brings both together and writes what it finds for each part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import check_clip_index_rows, clip_index_files
from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_texts
from curator_dask.data.tables import row_group_tables
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import ROWS_OF_SHARED_BUCKET, read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.clip_facts import TIMES, ClipFacts, codes_of_names
from curator_dask.stages.identify.decisions.own_source import Sources
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.identify.settling.named_rows import halves_of
from curator_dask.stages.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa

LINE_BITS = 40
"""Lines of the clip index are numbered by file and line; so many bits are for the line."""


@dataclass(frozen=True)
class IndexTask:
    """Write the clips of one file of the clip index in buckets."""

    clips: Folder
    path: str
    number: int
    """The number of the file."""
    output: Folder
    written: str
    """How the paths of the files to write begin."""
    num_buckets: int


def scatter_clips(task: IndexTask) -> tuple[list[str], int]:
    """Write the clips of one file of the clip index in buckets; returns the paths, and the number of clips."""
    import pyarrow as pa

    paths: list[str] = []
    first = task.number << LINE_BITS
    start = first
    for clips in _some_clips(task):
        high, low = id_digests(id_texts(clips["id"])).T
        columns = {"high": high, "low": low, "line": np.arange(start, start + len(clips))}
        table = pa.table({**columns, **{name: clips[name] for name in ("source_video", *TIMES)}})
        path = f"{task.written}-{len(paths):06d}.arrow"
        paths.append(write_shared(task.output, path, table, bucket_of(high, task.num_buckets), task.num_buckets))
        start += len(clips)
    return paths, start - first


def _some_clips(task: IndexTask) -> Iterator[pa.Table]:
    """The clips of the file, some row groups at a time."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for group in row_group_tables(task.clips, task.path, ["id", "source_video", *TIMES]):
        waiting.append(group.replace_schema_metadata(None))
        if sum(map(len, waiting)) >= ROWS_OF_SHARED_BUCKET:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


@dataclass(frozen=True)
class BucketTask:
    """Bring the rows and clips of one bucket together."""

    folder: Folder
    clips: tuple[str, ...]
    rows: tuple[str, ...]
    """The files with both, in order."""
    number: int
    firsts: Indices
    """(P,) the first row of each part."""
    asked: str | None
    """The file with ``row`` and ``part``: rows, ascending, whose sources a part asks for; None: nobody asks."""
    written: str
    """Path of the file to write: what is found, in buckets by part."""
    sources: str
    """The same: ``row`` and ``source_video`` of the rows that parts ask for."""


def join_bucket(task: BucketTask) -> None:
    """Find the clips of the rows of a bucket."""

    found = _joined(task)
    row = found["row"].to_numpy()
    part = np.searchsorted(task.firsts, row, side="right") - 1
    write_shared(task.folder, task.written, found, part, len(task.firsts))
    if task.asked is not None:
        _write_sources(task, found.select(["row", "source_video"]).sort_by("row"))


def _write_sources(task: BucketTask, found: pa.Table) -> None:
    import pyarrow as pa

    asked = read_shared(task.folder, [task.asked or ""], 0)
    nothing = np.zeros(0, np.int64)
    wanted, part = (nothing, nothing) if asked is None else (asked[name].to_numpy() for name in ("row", "part"))
    row = found["row"].to_numpy()
    at = np.searchsorted(row, wanted)
    there = np.append(row, -1)[at] == wanted
    write_shared(task.folder, task.sources, found.take(pa.array(at[there])), part[there], len(task.firsts))


def _joined(task: BucketTask) -> pa.Table:
    """``row``, ``line``, ``source_video``, ``start_s`` and ``end_s`` of the rows that the clip index knows."""
    import pyarrow as pa

    rows, clips = (read_shared(task.folder, paths, task.number) for paths in (task.rows, task.clips))
    if rows is None or clips is None:
        kinds = [("row", pa.int64()), ("line", pa.int64()), ("source_video", pa.string())]
        return pa.schema([*kinds, *((name, pa.float64()) for name in TIMES)]).empty_table()
    index = RowIndex.of(list(halves_of(clips).T))
    place = index.find_digests(halves_of(rows))
    there = place >= 0
    known = clips.select(["line", "source_video", *TIMES]).take(pa.array(place[there]))
    return known.add_column(0, "row", rows["row"].filter(pa.array(there)))


@dataclass(frozen=True)
class IndexFacts:
    """The files with what the clip index tells of all rows, in buckets by part."""

    paths: tuple[str, ...]
    sources: tuple[str, ...]
    """``row`` and ``source_video`` of the rows that parts ask for."""


def facts_of_rows(
    place: Workplace, clips: Folder, num_buckets: int, rows: Sequence[str], firsts: Indices, asked: str | None
) -> IndexFacts:  # fmt: skip
    """Bring rows and clips together.

    Args:
        clips: the output of the split stage.
        rows: the files with the rows of the parts. firsts: (P,) the first row of each part.
        asked: see `BucketTask`.

    Raises InputError where the clip index is damaged.
    """
    tasks = [
        IndexTask(clips, one, number, place.folder, place.path("clips", number).removesuffix(".arrow"), num_buckets)
        for number, one in enumerate(clip_index_files(clips))
    ]
    written = place.each(scatter_clips, tasks)
    check_clip_index_rows(clips, sum(num_clips for _, num_clips in written))
    files = tuple(one for paths, _ in written for one in paths)
    buckets = [
        BucketTask(
            place.folder, files, tuple(rows), number, firsts, asked,
            *(place.path(name, number) for name in ("facts", "sources-of")),
        )
        for number in range(num_buckets)
    ]  # fmt: skip
    place.each(join_bucket, buckets)
    sources = () if asked is None else tuple(bucket.sources for bucket in buckets)
    return IndexFacts(tuple(bucket.written for bucket in buckets), sources)


@dataclass(frozen=True)
class PartFacts:
    """Facts about the n rows of a part, R of which are removed."""

    facts: ClipFacts
    line: Indices
    """(n,) where each row is in the clip index; -1 where it is not."""


def read_facts(
    folder: Folder, paths: tuple[str, ...], number: int, first: int, removed: NDArray[np.bool_]
) -> PartFacts:
    """The facts about the rows of a part, whose first row is `first`, from the files of all buckets."""
    num_removed = int(np.count_nonzero(removed))
    facts, line = ClipFacts.unknown(len(removed), num_removed), np.full(len(removed), -1)
    found = read_shared(folder, paths, number)
    if found is None:
        return PartFacts(facts, line)
    found = found.sort_by("line")  # so that sources are numbered as they come in the clip index
    row, codes = found["row"].to_numpy() - first, dict[str, int]()
    line[row] = found["line"].to_numpy()
    facts.sources.code[row] = codes_of_names(found["source_video"], codes)
    gone = removed[row]
    place = (np.cumsum(removed) - 1)[row[gone]]
    for at, name in enumerate(TIMES):
        facts.times[place, at] = found[name].fill_null(0.0).to_numpy()[gone]
    return PartFacts(ClipFacts(Sources(facts.sources.code, list(codes)), facts.times), line)
