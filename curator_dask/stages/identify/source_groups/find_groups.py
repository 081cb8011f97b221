"""Bring rows and overlaps to groups of sources that are decided on by themselves: in tasks, without clips in the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import shared_buckets_for
from curator_dask.files.folder import Folder
from curator_dask.files.layout import OVERLAPS_TABLE
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.overlap.ranked_rows import rank_names
from curator_dask.stages.identify.source_groups.connect import Labels, connect
from curator_dask.stages.identify.source_groups.decide_group import Groups
from curator_dask.stages.identify.source_groups.meet import BucketTask, Meeting, meet
from curator_dask.stages.identify.source_groups.overlaps_of_rows import (
    OverlapsTask,
    SendTask,
    find_overlaps,
    send_overlaps,
)
from curator_dask.stages.identify.source_groups.rows import LinesOfPart, Placed, PlaceTask, place_rows
from curator_dask.stages.identify.source_groups.rows_of_groups import SendRowsTask, send_rows_to_groups
from curator_dask.stages.identify.source_groups.staying import StayingSet, scatter_staying
from curator_dask.stages.identify.source_groups.tables_of_align import (
    Chunk,
    ChunkTask,
    Scatter,
    chunks_of_clips,
    chunks_of_overlaps,
    scatter_sides,
    scatter_spans,
)
from curator_dask.stages.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class SourceGroups:
    """One search for groups."""

    place: Workplace
    parts: Sequence[LinesOfPart]
    overlaps: Folder
    """The output of the align stage."""
    rule: OverlapRule
    staying: Sequence[StayingSet]
    """Clips that stay and come before all rows."""

    @cached_property
    def num_rows(self) -> int:
        return sum(part.num_rows for part in self.parts)

    @cached_property
    def firsts(self) -> Indices:
        """(P,) the first row of each part."""
        return np.array([part.first for part in self.parts])

    @cached_property
    def num_buckets(self) -> int:
        """Buckets by the digests of ids."""
        num_lines = sum(chunk.num_lines for chunk in self._chunks)
        return shared_buckets_for(max(self.num_rows, 2 * num_lines))

    @cached_property
    def row_paths(self) -> tuple[str, ...]:
        """The files with the digests of the rows of each part."""
        return self._paths("rows", len(self.parts))

    @cached_property
    def placed(self) -> list[Placed]:
        """What the tables of all parts are like."""
        names = tuple(self._ranks.values())
        gone = self._dropped or ("",) * len(self.parts)
        tasks = [
            PlaceTask(part, names, self.place.folder, rows, dropped, self.num_buckets)
            for part, rows, dropped in zip(self.parts, self.row_paths, gone, strict=True)
        ]
        return self.place.each(place_rows, tasks)

    @cached_property
    def first_lines(self) -> tuple[str, ...]:
        """The files with the first lines of sources in the table of clips, beside those of `results.counts`."""
        return self._paths("lines", len(self._clips))

    @cached_property
    def groups(self) -> Groups:
        """The groups. Raises InputError where the files do not fit together."""
        spans, sides = self._met
        labels = self._labels(sides)
        rows = [
            SendRowsTask(part, path)
            for part, path in zip(self.parts, self._paths("sent", len(self.parts)), strict=True)
        ]
        sent = self.place.each(send_rows_to_groups, rows, labels, spans, self._schema)
        found = self._send_overlaps(labels)
        return Groups(self.place.folder, tuple(sent), found, self._ranks_of_rows, self.rule, labels.num_groups)

    def _paths(self, what: str, num: int) -> tuple[str, ...]:
        return tuple(self.place.path(what, number) for number in range(num))

    @cached_property
    def _ranks(self) -> dict[str, str]:
        return rank_names(self.rule.strategy)

    @cached_property
    def _schema(self) -> pa.Schema:
        """The columns that rank, in the types that hold the values of all parts."""
        import pyarrow as pa

        return pa.unify_schemas([one.ranks for one in self.placed], promote_options="permissive")

    @property
    def _ranks_of_rows(self) -> tuple[tuple[str, str, bool], ...]:
        nulls = np.sum([one.num_null for one in self.placed], axis=0).tolist()
        return tuple((name, held, bool(num)) for (name, held), num in zip(self._ranks.items(), nulls, strict=True))

    @cached_property
    def _dropped(self) -> tuple[str, ...]:
        return self._paths("dropped", len(self.parts)) if self.parts[0].dropped is not None else ()

    @cached_property
    def _clips(self) -> list[Chunk]:
        return chunks_of_clips(self.overlaps)

    @cached_property
    def _chunks(self) -> list[Chunk]:
        self._clips  # noqa: B018  a folder that is no output of align lacks this table first
        return chunks_of_overlaps(self.overlaps)

    @property
    def spans(self) -> tuple[str, ...]:
        """The files with source, start and length of the rows, in buckets by part."""
        return self._met[0]

    @cached_property
    def _met(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The files with the spans of rows, and those with the clips that overlaps name."""
        scatter = Scatter(self.place.folder, self.num_buckets)
        self.placed  # noqa: B018  writes the rows
        sides = self._scattered(scatter_sides, scatter, "sides", self._chunks)
        spans = self._scattered(scatter_spans, scatter, "spans", self._clips)
        meeting = Meeting(
            self.place.folder, self.row_paths, self._dropped, spans, sides, self._staying(scatter),
            tuple(one.without_sources() for one in self.staying),
            self.firsts, np.array([chunk.first for chunk in self._chunks], np.int64),
        )  # fmt: skip
        found = [self._paths(what, self.num_buckets) for what in ("spans-of-rows", "clips-of-sides")]
        self.place.each(
            meet, [BucketTask(number, *paths) for number, paths in enumerate(zip(*found, strict=True))], meeting
        )
        return found[0], found[1]

    def _scattered(
        self, work: Callable[..., str], scatter: Scatter, what: str, chunks: Sequence[Chunk]
    ) -> tuple[str, ...]:
        counts = self.first_lines if work is scatter_spans else ("",) * len(chunks)
        paths = self._paths(what, len(chunks))
        tasks = [ChunkTask(*one) for one in zip(chunks, paths, counts, strict=True)]
        return tuple(self.place.each(work, tasks, scatter))

    def _staying(self, scatter: Scatter) -> tuple[str, ...]:
        paths: list[str] = []
        for one in self.staying:
            path = self.place.path("staying", one.place).removesuffix(".arrow")
            written = self.place.each(scatter_staying, one.tasks(path), scatter)
            one.check(sum(num_clips for _, num_clips in written))
            paths += [path for some, _ in written for path in some]
        return tuple(paths)

    def _labels(self, sides: tuple[str, ...]) -> Labels:
        links = self._paths("links", len(self._chunks))
        tasks = [OverlapsTask(*one) for one in zip(self._chunks, self._found, links, strict=True)]
        counts = self.place.each(find_overlaps, tasks, self.place.folder, sides)
        if sum(one.all for one in counts) and not sum(one.ours for one in counts):
            table = self.overlaps.join(OVERLAPS_TABLE)
            raise InputError(
                f"{table} names no two of the {self._num_lines:,} clips to decide on: is overlaps_path the output that align "
                "made from these clips?"
            )
        num_groups = shared_buckets_for(max(self.num_rows, sum(one.all for one in counts)))
        return Labels(self.place.folder, connect(self.place, links), num_groups)

    @property
    def _num_lines(self) -> int:
        return int(self.placed[-1].lines[-1])

    @property
    def _found(self) -> tuple[str, ...]:
        return self._paths("found", len(self._chunks))

    def _send_overlaps(self, labels: Labels) -> tuple[str, ...]:
        paths = self._paths("sent-overlaps", len(self._chunks))
        tasks = [SendTask(*one) for one in zip(self._found, paths, strict=True)]
        return tuple(filter(None, self.place.each(send_overlaps, tasks, labels)))
