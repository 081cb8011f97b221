"""The export without tars: a table of the clips, and their media beside it or left in place."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator_dask.data.tables import publish_parquet
from curator_dask.export.index import index_table
from curator_dask.export.planned.columns import CONTENT_HASH, TOLD, record_schema
from curator_dask.export.planned.json_texts import inputs_and_sizes, json_texts
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.spec import CopySpec

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ClipTable:
    """The table of an export, and the units of work that copy media."""

    clips: ExportedClips
    input: Folder
    output: Folder
    copies_media: bool

    def copies(self) -> list[Unit[CopySpec]]:
        """The media to copy, with their previews; none where they stay in place."""
        return list(self._copies()) if self.copies_media else []

    def _copies(self) -> Iterator[Unit[CopySpec]]:
        for table in self.clips.in_order()():
            names = record_schema(with_quality=self.clips.chosen.with_quality).names
            inputs = inputs_and_sizes(table.select(names))[0].to_pylist()
            told = json_texts(table[TOLD]).to_pylist() if TOLD in table.column_names else None
            hashes = table[CONTENT_HASH].to_pylist() if CONTENT_HASH in table.column_names else [""] * len(table)
            for at, (clip, size) in enumerate(
                zip(table["id"].to_pylist(), table["num_bytes"].to_pylist(), strict=True)
            ):
                parts = inputs[at] if told is None else f"{inputs[at]}, {told[at]}"
                spec = CopySpec(self.input, self.output, clip, size, hashes[at] or "", told is not None)
                yield Unit(clip, hashlib.sha256(f"[{parts}]".encode("ascii")).hexdigest()[:32], spec, clip)

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
