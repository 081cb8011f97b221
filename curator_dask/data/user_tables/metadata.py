"""Rows of a user's table, joined to clips: by the clip's id, or by its source video.

::

    names of clips or videos ─┐
    cells of the table ───────┴─ by the text ──> rows with their targets ─┐
    wanted clips with their targets ─────────────────────────────────────┴─ by the target ──> JSON and caption of each clip

The table is read twice: first to see what its columns hold and which of them names clips or videos, then to take its rows.
What belongs together meets in buckets, files on a local disk. So a table may have more rows than fit into memory.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, plain_ids
from curator_dask.data.user_tables.carried_rows import CarriedRows
from curator_dask.data.user_tables.choice import Choice, key_columns
from curator_dask.data.user_tables.names import AMBIGUOUS, UNKNOWN, meeting_texts
from curator_dask.data.user_tables.table import UserTable
from curator_dask.data.user_tables.targets import CLIP, VIDEO, ClipNames, Targets
from curator_dask.errors import InputError
from curator_dask.files.buckets.buckets import buckets_for
from curator_dask.files.buckets.meeting import gather, read_bucket
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN: Final = 5
BYTES_OF_ROW: Final = 256
"""What a row of a table takes, about: so many bytes of the file make a row when its buckets are counted."""
_COLUMN, _CELL, _ROW, _TARGET = "column", "cell", "row", "target"


@dataclass
class Metadata:
    """What a table says of the wanted clips. All but the kinds is known when `rows` have been read."""

    shown: str
    """The name of the table for messages."""
    kinds: Mapping[str, str]
    """Carried column → its kind in JSON, see `carried`."""
    kind: str
    """What the rows name: ``clip`` or ``video``."""
    has_unnamed: bool = False
    """Whether a column without a name is left out."""
    num_rows: int = 0
    num_unmatched: int = 0
    num_ambiguous: int = 0
    num_doubled: int = 0
    """Clips that rows with different values name: none of these rows is taken."""
    unmatched: list[tuple[int, str]] = field(default_factory=list)
    """The first rows that name nothing, by their numbers; so `ambiguous`."""
    ambiguous: list[tuple[int, str]] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def without_row(self) -> str:
        """The JSON object of a clip that no row names."""
        return json.dumps(dict.fromkeys(self.kinds))

    @property
    def sentences(self) -> list[str]:
        """What a person should know: which rows could not be used."""
        return [f"metadata {self.shown}: {sentence}" for sentence in self._sentences()]

    def _sentences(self) -> Iterator[str]:
        of_all, kind = f"of {self.num_rows:,}", self.kind
        if self.has_unnamed:
            yield "a column without a name is left out"
        if self.num_unmatched:
            some = _some([text for _, text in self.unmatched])
            yield f"rows that name no {kind} of this output: {self.num_unmatched:,} {of_all}: {some}"
        if self.num_ambiguous:
            some = _some([text for _, text in self.ambiguous])
            yield f"rows that name several videos by one file name: {self.num_ambiguous:,} {of_all}: {some}"
        if self.num_doubled:
            several = f"clips that get nothing, as rows of different values name them: {self.num_doubled:,}"
            yield f"{several}: {_some(self.doubled)}"

    def note(self, numbers: NDArray[np.int64], rows: pa.Table) -> None:
        """Count rows, and keep the first ones that name nothing or several videos."""
        self.num_rows += len(numbers)
        self.num_unmatched += int(np.sum(numbers == UNKNOWN))
        self.num_ambiguous += int(np.sum(numbers == AMBIGUOUS))
        self.unmatched = heapq.nsmallest(SHOWN, [*self.unmatched, *_first(rows, numbers == UNKNOWN)])
        self.ambiguous = heapq.nsmallest(SHOWN, [*self.ambiguous, *_first(rows, numbers == AMBIGUOUS)])

    def note_doubled(self, clips: Sequence[str]) -> None:
        self.num_doubled += len(clips)
        self.doubled = heapq.nsmallest(SHOWN, [*self.doubled, *clips])


def _first(rows: pa.Table, where: NDArray[np.bool_]) -> list[tuple[int, str]]:
    at = np.flatnonzero(where)
    numbers = rows[_ROW].to_numpy()[at]
    order = np.argsort(numbers)[:SHOWN]
    return [(int(numbers[one]), rows[_CELL][int(at[one])].as_py() or "") for one in order]


def join_metadata(
    table: UserTable, choice: Choice, clips: ClipNames, scratch: Path
) -> tuple[Metadata, Iterator[pa.Table]]:
    """The rows of the table that name wanted clips: tables of ``id``, ``metadata`` (the carried columns as one JSON object)
    and ``caption``, of clips that a row names. Memory holds one bucket; the others are files in `scratch`.

    Raises InputError where no row names any clip of the output, where a column is missing or holds what cannot be carried,
    and where a row is too long.
    """
    choice.check(table)
    join = _Join(table, clips, scratch)
    candidates = [choice.key] if choice.key is not None else key_columns(table.columns())
    key, kind = join.key(candidates)
    rows = CarriedRows.of(table, key, choice)
    has_unnamed = "" in table.columns() and choice.columns is None
    metadata = Metadata(table.shown, rows.kinds, kind, has_unnamed)
    return metadata, join.rows(rows, metadata)


class _Join:
    """The buckets in which cells, names, rows and clips meet."""

    def __init__(self, table: UserTable, clips: ClipNames, scratch: Path) -> None:
        self._table, self._clips, self._scratch = table, clips, scratch
        self._num_buckets = buckets_for(max(clips.num_clips, table.num_bytes() // BYTES_OF_ROW))
        self._targets = {kind: Targets(kind, clips, scratch, self._num_buckets) for kind in (CLIP, VIDEO)}

    def key(self, candidates: Sequence[str]) -> tuple[str, str]:
        """The column that names most, and whether it names clips or videos."""
        hits, example = {(column, kind): 0 for column in candidates for kind in self._targets}, ""
        cells = gather(self._cells(candidates), self._scratch, self._num_buckets, by=_meeting_text)
        for number in range(self._num_buckets):
            if (rows := read_bucket(cells, number)) is None:
                continue
            column_of, texts = rows[_COLUMN].to_numpy(), rows[_CELL].combine_chunks()
            for kind, targets in self._targets.items():
                named = column_of[targets.bucket(number).find(texts) != UNKNOWN]
                for at, column in enumerate(candidates):
                    hits[column, kind] += int(np.sum(named == at))
            example = example or next((cell for cell in texts.to_pylist() if cell), "")
        if cells is not None:
            cells.remove()
        best = max(hits, key=lambda one: hits[one])
        if not hits[best]:
            raise self._no_hit(candidates, example)
        return best

    def _cells(self, candidates: Sequence[str]) -> Iterator[pa.Table]:
        """The cells of these columns, each with the number of its column."""
        import pyarrow as pa

        for batch in self._table.batches(candidates):
            for at, column in enumerate(candidates):
                yield pa.table({_COLUMN: pa.array(np.full(len(batch), at, np.int16)), _CELL: _texts(batch[column])})

    def _no_hit(self, candidates: Sequence[str], example: str) -> InputError:
        first = next((one for table in self._clips.every() for one in table.slice(0, 1).to_pylist()), None)
        clip, video = (first["id"], first["relative_path"]) if first is not None else ("", "")
        if not example:
            return InputError(
                f"{self._table.shown} names no clip and no video: it has no rows, or nothing in "
                f"{' or '.join(map(printable, candidates))}"
            )
        return InputError(
            f"no row of {self._table.shown} names a clip or a video of this output, by "
            f"{' or '.join(map(printable, candidates))}; a cell is {printable(example)[:200]!r}, while a clip is {clip!r} and "
            f"a video {printable(video)!r}"
        )

    def rows(self, rows: CarriedRows, metadata: Metadata) -> Iterator[pa.Table]:
        """What the rows say of each wanted clip that one of them names."""
        by_target = gather(self._named(rows, metadata), self._scratch, self._num_buckets, by=_target)
        clips = gather(
            self._clips.targets(metadata.kind), self._scratch, self._num_buckets, by=lambda one: one["target"]
        )
        for number in range(self._num_buckets):
            some, wanted = read_bucket(by_target, number), read_bucket(clips, number)
            if some is not None and wanted is not None:
                yield _said(rows, some, wanted, metadata)

    def _named(self, rows: CarriedRows, metadata: Metadata) -> Iterator[pa.Table]:
        """The rows that name something, with what each of them names."""
        targets = self._targets[metadata.kind]
        cells = gather(_numbered(rows), self._scratch, self._num_buckets, by=_meeting_text)
        for number in range(self._num_buckets):
            if (some := read_bucket(cells, number)) is not None:
                names = targets.bucket(number)
                found = names.find(some[_CELL].combine_chunks())
                metadata.note(found, some)
                yield _with_targets(some, found, names.targets)
        for done in (cells, *self._targets.values()):
            if done is not None:
                done.remove()


def _texts(cells: Any) -> Any:
    return id_texts(plain_ids(cells))


def _meeting_text(rows: pa.Table) -> Any:
    return meeting_texts(rows[_CELL])


def _target(rows: pa.Table) -> Any:
    return rows[_TARGET]


def _numbered(rows: CarriedRows) -> Iterator[pa.Table]:
    """The rows of a table with their numbers and the texts of their keys."""
    import pyarrow as pa

    start = 0
    for key, columns in rows.batches():
        numbers = pa.array(np.arange(start, start + len(columns)))
        start += len(columns)
        yield columns.append_column(_ROW, numbers).append_column(_CELL, _texts(key))


def _with_targets(rows: pa.Table, numbers: NDArray[np.int64], targets: Any) -> pa.Table:
    import pyarrow as pa

    is_known = numbers >= 0
    known = rows.filter(pa.array(is_known)).drop_columns([_CELL])
    return known.append_column(_TARGET, targets.take(pa.array(numbers[is_known])))


def _said(rows: CarriedRows, named: pa.Table, clips: pa.Table, metadata: Metadata) -> pa.Table:
    """What the rows of one bucket say of its clips. Clips that rows with different values name get nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = clips["target"].combine_chunks()
    named = named.filter(pc.is_in(named[_TARGET], value_set=wanted)).sort_by(_ROW)
    found, doubled = _first_of_each(named[_TARGET].to_pylist(), rows.texts(named))
    told = [(clip, *found[one]) for clip, one in _pairs(clips) if one in found and one not in doubled]
    metadata.note_doubled([clip for clip, one in _pairs(clips) if one in doubled])
    kinds = pa.schema([(name, pa.large_string()) for name in ("id", "metadata", "caption")])
    return pa.table(list(map(list, zip(*told, strict=True))) if told else [[], [], []], schema=kinds)


def _pairs(clips: pa.Table) -> Iterable[tuple[str, bytes]]:
    return zip(clips["id"].to_pylist(), clips["target"].to_pylist(), strict=True)


def _first_of_each(
    targets: Iterable[bytes], texts: Iterable[tuple[str, str | None]]
) -> tuple[dict[bytes, tuple[str, str | None]], set[bytes]]:
    """What the first row of each target says, and the targets of which another row says something else."""
    found: dict[bytes, tuple[str, str | None]] = {}
    doubled = set()
    for target, row in zip(targets, texts, strict=True):
        if found.setdefault(target, row) != row:
            doubled.add(target)
    return found, doubled


def _some(examples: Sequence[str]) -> str:
    return ", ".join(repr(printable(one)[:80]) for one in examples) + (", …" if len(examples) == SHOWN else "")
