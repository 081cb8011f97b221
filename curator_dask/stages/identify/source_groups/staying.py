"""Clips that stay as they are: those that other outputs kept, and those that the runs kept that rows are added to.

Workers read their ids, and those that were left out of them, each task some files. The client has the names of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from curator_dask.data.clip_index import check_clip_index_rows, clip_index_files
from curator_dask.data.decisions.read_decisions import dropped_texts, removed_texts
from curator_dask.data.decisions.row_index import id_digests
from curator_dask.data.ids import id_column, id_texts, plain_ids
from curator_dask.data.tables import read_parquet, row_group_tables
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.layout import DUPLICATES
from curator_dask.stages.identify.source_groups.rows import STAYING
from curator_dask.stages.identify.source_groups.tables_of_align import Scatter

if TYPE_CHECKING:
    import pyarrow as pa

SET_BITS, LINE_BITS = 40, 24
"""Clips that stay are numbered by set, task and line; so many bits are for task and line, and for the line alone."""
TASK_BYTES = 128 << 20
"""The files of clusters whose ids a task reads have about this many bytes, vectors included."""
LEFT_OUT = -1
"""Stands for the number of a clip that was left out."""


class Ids(NamedTuple):
    """Some ids, as texts."""

    texts: pa.ChunkedArray
    stay: bool
    """Whether they are clips that stay; else they are left out of these."""
    must_be_known: bool = False
    """Whether clips that are left out have to be among the ids of the runs that rows are added to."""


class IdSource(Protocol):
    """Where one task reads ids."""

    def read(self) -> Iterator[Ids]:
        """The ids, some at a time."""


@dataclass(frozen=True)
class IndexFile:
    """A file of the clip index of an output."""

    folder: Folder
    path: str

    def read(self) -> Iterator[Ids]:
        for some in row_group_tables(self.folder, self.path, ["id"]):
            yield Ids(id_texts(plain_ids(some["id"])), stay=True)


@dataclass(frozen=True)
class LeftOut:
    """What an output of identify removed, and what its filters dropped."""

    folder: Folder
    check: bool
    """Whether what was removed must be known."""

    def read(self) -> Iterator[Ids]:
        import pyarrow as pa

        for ids in removed_texts(self.folder):
            yield Ids(pa.chunked_array([ids], pa.large_string()), stay=False, must_be_known=self.check)
        for ids in dropped_texts(self.folder):
            yield Ids(pa.chunked_array([ids], pa.large_string()), stay=False)


@dataclass(frozen=True)
class ClusterFiles:
    """Files of clusters of a k-means output."""

    folder: Folder
    paths: tuple[str, ...]
    id_field: str

    def read(self) -> Iterator[Ids]:
        import pyarrow as pa

        for path in self.paths:
            ids = id_column(read_parquet(self.folder, path, [self.id_field]), self.id_field)
            yield Ids(id_texts(pa.chunked_array([ids])), stay=True)


@dataclass(frozen=True)
class StayingSet:
    """The kept clips of another output, or of a run that rows are added to."""

    place: int
    """Its place among such sets, those of runs first."""
    number: int
    """As align numbers the sets; 0 where they lie among the new clips."""
    sources: tuple[IdSource, ...]
    in_reference: bool
    """Whether they are of another output."""
    index: Folder | None = None
    """The output whose clip index tells how many clips there are; None: it is not known."""

    @classmethod
    def of_output(cls, place: int, number: int, folder: Folder) -> StayingSet:
        """What another output kept."""
        files = [IndexFile(folder, path) for path in clip_index_files(folder)]
        return cls(place, number, (*files, LeftOut(folder.below(DUPLICATES), check=False)), True, folder)

    @classmethod
    def of_run(
        cls, place: int, number: int, kmeans: Folder, files: Sequence[Entry], id_field: str,
        duplicates: Sequence[Folder],
    ) -> StayingSet:  # fmt: skip
        """What a run kept that rows are added to.

        Args:
            files: those of its clusters.
            duplicates: the outputs of identify of all such runs.
        """
        clusters = [ClusterFiles(kmeans, paths, id_field) for paths in _some_at_a_time(files)]
        left_out = [LeftOut(one, check=not place) for one in duplicates]  # one set tells what all of them left out
        return cls(place, number, (*clusters, *left_out), False)

    @staticmethod
    def first_of(place: int) -> int:
        """The number of the first clip of the set at a place."""
        return STAYING + (place << SET_BITS)

    def without_sources(self) -> StayingSet:
        """What is known of it where no ids are read."""
        return replace(self, sources=())

    def tasks(self, path: str) -> list[StayingTask]:
        """The tasks that write its ids to files whose paths begin so."""
        return [
            StayingTask(self.place, source, number, f"{path}-{number:06d}")
            for number, source in enumerate(self.sources)
        ]

    def check(self, num_clips: int) -> None:
        """Raise InputError unless the clip index has as many clips as it notes."""
        if self.index is not None:
            check_clip_index_rows(self.index, num_clips)


def _some_at_a_time(files: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    paths, num_bytes = list[str](), 0
    for entry in files:
        paths.append(entry.path)
        num_bytes += entry.num_bytes
        if num_bytes >= TASK_BYTES:
            yield tuple(paths)
            paths, num_bytes = [], 0
    if paths:
        yield tuple(paths)


@dataclass(frozen=True)
class StayingTask:
    """Write ids of a set."""

    place: int
    source: IdSource
    number: int
    written: str
    """How the paths of the files to write begin."""


def scatter_staying(task: StayingTask, scatter: Scatter) -> tuple[list[str], int]:
    """Write these ids, some at a time; returns the paths, and the number of clips that stay, but for those left out.

    Clips are numbered from `STAYING` on, by set, task and line. Those that were left out have no number. ``text`` is that of
    clips that must be known.
    """
    paths: list[str] = []
    first = StayingSet.first_of(task.place) + (task.number << LINE_BITS)
    num_clips = 0
    for some in task.source.read():
        path = f"{task.written}-{len(paths):06d}.arrow"
        clip = np.arange(first + num_clips, first + num_clips + len(some.texts))
        paths.append(scatter.write(path, id_digests(some.texts), _columns(task, some, clip)))
        num_clips += len(some.texts) if some.stay else 0
    return paths, num_clips


def _columns(task: StayingTask, some: Ids, clip: np.ndarray) -> dict[str, object]:
    import pyarrow as pa

    num = len(some.texts)
    text = some.texts.cast(pa.large_string()) if some.must_be_known else pa.nulls(num, pa.large_string())
    return {
        "clip": clip if some.stay else np.full(num, LEFT_OUT),
        "of_set": np.full(num, task.place),
        "text": text,
    }
