"""What the rule ``overlap`` decided on the rows of a part, as the groups of sources wrote it; it is read on a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import one_type, stored
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.loaded_decisions import CoveredRows, Named, stored_type
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.overlap.load_rows import load_ranked_rows
from curator_dask.stages.identify.source_groups.rows import LinesOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DecidedFiles:
    """The files of all groups of sources."""

    folder: Folder
    results: tuple[str, ...]
    """Those with the rows that go, in buckets by part."""
    named: tuple[str, ...]
    """The same with the clips that rows name."""
    rule: OverlapRule
    num_rows: int
    """How many rows there are in all parts."""
    id_type: Any
    """The type of ids in files."""
    first_of_reference: int
    """The number of the first clip that another output kept; clips of the runs that rows are added to come before."""


@dataclass(frozen=True)
class DecidedPart:
    """One part. Clips that stay have numbers from `DecidedFiles.num_rows` on."""

    part: LinesOfPart
    files: DecidedFiles

    def _read(self, paths: tuple[str, ...]) -> pa.Table | None:
        return read_shared(self.files.folder, paths, self.part.number)

    @cached_property
    def result(self) -> pa.Table | None:
        """The rows that go by the rule, ascending."""
        found = self._read(self.files.results)
        return None if found is None else found.sort_by("row")

    @cached_property
    def gone(self) -> Indices:
        """The places of these."""
        return np.zeros(0, np.int64) if self.result is None else self.result["row"].to_numpy() - self.part.first

    @cached_property
    def by_rule(self) -> NDArray[np.bool_]:
        removed = np.zeros(self.part.num_rows, np.bool_)
        removed[self.gone] = True
        return removed

    def spread(self, name: str, nothing: Any, kind: type) -> NDArray[Any]:
        """(n,) a number of each row that goes, and another one for all others."""
        values: NDArray[Any] = np.full(self.part.num_rows, nothing, kind)
        if self.result is not None:
            values[self.gone] = self.result[name].to_numpy()
        return values

    @cached_property
    def named(self) -> pa.Table | None:
        return self._read(self.files.named)

    @cached_property
    def lines(self) -> Indices:
        """(n,) the lines of the rows of the part, from its first one on."""
        part = self.part
        if part.dropped is None:
            return np.arange(self.part.num_rows)
        stays = [part.stays(table) for table in part.read(["id"])]
        return np.flatnonzero(np.concatenate([np.zeros(0, np.bool_), *stays]))

    @cached_property
    def staying(self) -> pa.Table | None:
        """Clips that stay and that rows of the part name: ``clip``, ascending, and ``text``."""
        import pyarrow as pa

        if self.named is None:
            return None
        found = self.named.filter(pa.array(self.named["line"].to_numpy() < 0))
        clip, first = np.unique(found["clip"].to_numpy(), return_index=True)
        return pa.table({"clip": clip, "text": found["text"].take(pa.array(first))})

    def renamed(self, clips: Indices) -> Indices:
        """Rows as they are; other clips by their places behind all rows."""
        num_rows = self.files.num_rows
        if self.staying is None:
            return clips
        others = num_rows + np.searchsorted(self.staying["clip"].to_numpy(), clips)
        return np.where(clips < num_rows, clips, others)

    def matches(self) -> tuple[Indices, Any, pa.Array]:
        """(n,) each: what the scores of the rows come from, and the scores. And ids of clips that are no rows of the part.

        They are looked for where a row goes.
        """
        part = self.part
        if not part.tables.numbers:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), None
        rows, matches = load_ranked_rows(part.tables)
        if part.dropped is not None:
            stays = np.zeros(len(rows), np.bool_)
            stays[self.lines] = True
            rows, matches = replace(rows, staying=self.lines), matches.of(stays)
        line, named = matches.rows(rows, self.by_rule)
        found = np.where(line >= 0, line.astype(np.int64) + self.part.first, -1)
        behind = self.files.num_rows + (0 if self.staying is None else len(self.staying))
        ids = _note(found, named, behind)
        return found, matches.cosine, ids

    def others(self, more: pa.Array | None) -> pa.ChunkedArray:
        """The ids of clips that are no rows: those that stay, and some more, as they stand in files."""
        import pyarrow as pa

        kind = stored_type(self.files.id_type)
        texts = pa.chunked_array([], pa.large_string()) if self.staying is None else self.staying["text"]
        try:
            staying = texts.cast(kind)
        except pa.ArrowException as error:
            raise InputError(f"ids of the reference are no {kind}, as those of the clips are: {error}") from error
        return pa.chunked_array([*staying.chunks, *([] if more is None else [more.cast(kind)])], kind)

    @cached_property
    def covered(self) -> CoveredRows:
        import pyarrow as pa

        result, counts = self.result, np.zeros(self.part.num_rows, np.int64)
        if result is None:
            kind, kept = pa.nulls(self.part.num_rows, pa.string()), np.zeros(0, np.int64)
        else:
            lists = result["all_kept"].combine_chunks()
            counts[self.gone] = np.diff(lists.offsets.to_numpy())
            kept = self.renamed(lists.flatten().to_numpy())
            place = np.cumsum(self.by_rule) - 1
            kind = result["kind"].combine_chunks().take(pa.array(place, mask=~self.by_rule))
        first = np.concatenate([[0], np.cumsum(counts)])
        share, offset_s = (self.spread(name, 0, np.float64) for name in ("share", "offset_s"))
        return CoveredRows(share, offset_s, kind, first, kept, self._first_reference)

    @property
    def _first_reference(self) -> int:
        """From here on, numbers in the part are those of clips that other outputs kept."""
        if self.staying is None:
            return self.files.num_rows
        clips = self.staying["clip"].to_numpy()
        return self.files.num_rows + int(np.searchsorted(clips, self.files.first_of_reference))


def _note(rows: Indices, named: tuple[Named, ...], behind: int) -> pa.Array | None:
    """Put numbers from `behind` on in place of ids that rows name; returns these ids."""
    import pyarrow as pa

    if not named:
        return None
    ids = stored(pa.concat_arrays(one_type([one for _, one in named])))
    coded = ids.dictionary_encode()
    number, at = coded.indices.to_numpy().astype(np.int64) + behind, 0
    for of, some in named:
        rows[of] = number[at : at + len(some)]
        at += len(some)
    return coded.dictionary
