"""What a user's table says of the clips to export: columns for the JSON of each sample, and captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.clip_index import clip_index_batches, real_name
from curator_dask.data.user_tables.carried import arrow_type
from curator_dask.data.user_tables.choice import Choice
from curator_dask.data.user_tables.metadata import Metadata, join_metadata
from curator_dask.data.user_tables.table import UserTable
from curator_dask.data.user_tables.targets import ClipNames
from curator_dask.export.planned.columns import CAPTION, CAPTION_BYTES, HAS_ROW
from curator_dask.export.samples import METADATA
from curator_dask.files.buckets.buckets import Buckets
from curator_dask.files.buckets.meeting import gather, read_bucket, rows_of
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("id", "relative_path", "source_video")


@dataclass(frozen=True)
class ExportedMetadata:
    """A table, joined to the clips to export."""

    joined: Metadata
    rows: Buckets | None
    """``id``, `METADATA` and `CAPTION` of the clips that a row names, in the buckets of the clips."""
    has_captions: bool

    def add_to(self, clips: pa.Table, number: int) -> pa.Table:
        """The clips of one bucket with what the table says of them, and with the bytes of their captions if samples have them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = read_bucket(self.rows, number)
        at = rows_of(clips["id"], known) if known is not None else pa.nulls(len(clips), pa.int32())
        found = {METADATA: _taken(known, METADATA, at), CAPTION: _taken(known, CAPTION, at), HAS_ROW: at.is_valid()}
        found[METADATA] = pc.fill_null(found[METADATA], self.joined.without_row)
        if self.has_captions:
            found[CAPTION] = pc.fill_null(found[CAPTION], "")
            found[CAPTION_BYTES] = pc.binary_length(found[CAPTION]).cast(pa.int64())
        for name, values in found.items():
            clips = clips.append_column(name, values)
        return clips

    def schema(self) -> pa.Schema:
        """The carried columns as they stand in a table of clips."""
        import pyarrow as pa

        return pa.schema([(name, arrow_type(kind)) for name, kind in self.joined.kinds.items()])

    def counts(self, exported: Iterable[pa.Table]) -> dict[str, int]:
        """How many of the exported clips have a row and a caption, and how many rows of the table name nothing."""
        num_clips = num_found = num_empty = 0
        for table in exported:
            num_clips, num_found = num_clips + len(table), num_found + int(np.sum(table[HAS_ROW].to_numpy()))
            num_empty += sum(not (text or "").strip() for text in table[CAPTION].to_pylist())
        captions = {"captions_empty": num_empty}
        return {
            "clips_with_metadata": num_found,
            "clips_without_metadata": num_clips - num_found,
            **(captions if self.has_captions else {}),
            "metadata_rows": self.joined.num_rows,
            "metadata_rows_unmatched": self.joined.num_unmatched,
            "metadata_rows_ambiguous": self.joined.num_ambiguous,
        }


def _taken(known: pa.Table | None, name: str, at: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return known[name].take(at) if known is not None else pa.chunked_array([pa.nulls(len(at), pa.large_string())])


def join_to_clips(
    table: UserTable, choice: Choice, clips: Folder, chosen: Buckets, seed: int, scratch: Path
) -> ExportedMetadata:
    """The table joined to the chosen clips of an output of the split stage, which lie in buckets by the places of their ids."""
    names = gather(map(_written, clip_index_batches(clips, NAMES)), scratch, chosen.num_buckets, seed)
    joined, rows = join_metadata(table, choice, _clip_names(names, chosen), scratch)
    return ExportedMetadata(joined, gather(rows, scratch, chosen.num_buckets, seed), choice.caption_column is not None)


def _clip_names(names: Buckets | None, chosen: Buckets) -> ClipNames:
    """The names of all clips, and those of the chosen ones, from buckets of both."""

    def wanted() -> Iterator[pa.Table]:
        import pyarrow.compute as pc

        for number in range(chosen.num_buckets):
            if (some := read_bucket(names, number)) is not None:
                ids = chosen.read(number)["id"].combine_chunks()
                yield some.filter(pc.is_in(some["id"], value_set=ids.cast(some["id"].type)))

    every: Callable[[], Iterable[pa.Table]] = names.tables if names is not None else lambda: ()
    return ClipNames(every, wanted, names.num_rows if names is not None else 0)


def _written(clips: pa.Table) -> pa.Table:
    """The rows with relative paths as a person writes them; one that is no valid text stays as it stands there."""
    import pyarrow as pa

    paths = clips["relative_path"].combine_chunks().dictionary_encode()
    written = pa.array(map(_as_written, paths.dictionary.to_pylist()), pa.string()).take(paths.indices)
    return clips.set_column(clips.column_names.index("relative_path"), "relative_path", written)


def _as_written(stored: str) -> str:
    name = real_name(stored)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return stored
    return name
