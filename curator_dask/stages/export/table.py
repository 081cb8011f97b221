"""The export without tars: a table of the clips, and their media beside it or left in place."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.tables import publish_parquet
from curator_dask.export.index import index_table
from curator_dask.export.planned.columns import TOLD, record_schema
from curator_dask.export.planned.copies import groups_of, write_copies
from curator_dask.export.planned.json_texts import inputs_and_sizes, json_texts
from curator_dask.export.planned.ordering import shuffled
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.clips.plan_files import PLAN, plans_removed
from curator_dask.stages.export.spec import CopySpec

if TYPE_CHECKING:
    import pyarrow as pa


UNITS: Final = 16_384
"""The clips whose media is copied are cut into at most so many units, by the hashes of their ids: then another clip changes one
unit, whatever the number of clips."""


@dataclass(frozen=True)
class ClipTable:
    """The table of an export, and the units of work that copy media."""

    clips: ExportedClips
    input: Folder
    output: Folder
    copies_media: bool

    def copies(self, state: StageState) -> list[Unit[CopySpec]]:
        """The units that copy the media, with their previews; none where they stay in place. A unit has some clips."""
        digests: dict[int, Any] = {}
        for table in self._tables_to_copy():
            for number, text in zip(self._units_of(table).tolist(), self._inputs(table), strict=True):
                digests.setdefault(number, hashlib.sha256()).update(f"[{text}]\n".encode("ascii"))
        return [self._unit(state, number, found.hexdigest()[:32]) for number, found in sorted(digests.items())]

    @contextlib.contextmanager
    def planned(self, state: StageState, todo: Collection[str]) -> Iterator[None]:
        """During the block, the clips of the units with these keys lie in the stage's record."""
        with plans_removed(state):
            for at, table in enumerate(self._tables_to_copy() if todo else ()):
                numbers = self._units_of(table)
                if any(_key(number) in todo for number in np.unique(numbers).tolist()):
                    numbers %= self._per_plan
                    write_copies(state.folder, _plan_path(state, at), table, numbers, self._per_plan)
            yield

    def failures(self, found: Iterable[Failure]) -> Iterator[Failure]:
        """Those of clips. A unit that failed as a whole could copy none of its clips."""
        of_units = {failure.source: failure for failure in found if not failure.clip_id}
        yield from (failure for failure in found if failure.clip_id)
        for table in self._tables_to_copy() if of_units else ():
            for number, clip in zip(self._units_of(table).tolist(), table["id"].to_pylist(), strict=True):
                if (failure := of_units.get(_key(number))) is not None:
                    yield replace(failure, source=printable(clip), clip_id=printable(clip))

    def _tables_to_copy(self) -> Iterable[pa.Table]:
        """The rows of buckets by place, and so unit by unit."""
        return shuffled(self.clips.dressed, self.clips.parameters.seed) if self.copies_media else ()

    def _inputs(self, table: pa.Table) -> Iterator[str]:
        """What each clip's files are made from, as JSON without brackets."""
        names = record_schema(with_quality=self.clips.chosen.with_quality).names
        inputs = inputs_and_sizes(table.select(names))[0].to_pylist()
        if TOLD not in table.column_names:
            return iter(inputs)
        told = json_texts(table[TOLD]).to_pylist()
        return (f"{one}, {other}" for one, other in zip(inputs, told, strict=True))

    def _unit(self, state: StageState, number: int, inputs: str) -> Unit[CopySpec]:
        plan, place = divmod(number, self._per_plan)
        with_previews = self.clips.previews is not None
        spec = CopySpec(self.input, self.output, _plan_path(state, plan), place, with_previews)
        return Unit(_key(number), inputs, spec, _key(number))

    @property
    def _num_units(self) -> int:
        return max(UNITS, self.clips.chosen.rows.num_buckets)

    @property
    def _per_plan(self) -> int:
        """Units of a plan, which has the clips of a bucket."""
        return self._num_units // self.clips.chosen.rows.num_buckets

    def _units_of(self, table: pa.Table) -> NDArray[np.int64]:
        """(n,) the number of the unit of each clip."""
        return groups_of(table, self._num_units)

    def publish(self, state: StageState) -> None:
        """Write the table, sorted by id."""
        tables = self._tables()
        first = next(tables)
        publish_parquet(state, layout.INDEX_TABLE, first.schema, itertools.chain([first], tables))

    def _tables(self) -> Iterator[pa.Table]:
        carried = self.clips.metadata.schema() if self.clips.metadata is not None else None
        preview_of = self._preview_path if self.clips.previews is not None else None
        for table in self.clips.by(["id"])():
            if not len(table):  # a range may be empty; what no row has would then be no column
                continue
            yield index_table(table, self._media_path, preview_of=preview_of, carried=carried)

    def _media_path(self, clip_id: str) -> str:
        return self._path_of(layout.clip_path(clip_id))

    def _preview_path(self, clip_id: str) -> str:
        return self._path_of(layout.preview_path(clip_id))

    def _path_of(self, path: str) -> str:
        return path if self.copies_media else self.input.join(path)


def _key(number: int) -> str:
    return f"clips-{number:06d}"


def _plan_path(state: StageState, number: int) -> str:
    return state.path(PLAN, f"{number:06d}.arrow")
