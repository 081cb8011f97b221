"""What a user's table says of the clips to export: columns for the JSON of each sample, and captions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator_dask.data.clip_index import read_clip_index, real_name
from curator_dask.data.user_tables.carried import arrow_type
from curator_dask.data.user_tables.metadata import Choice, ClipNames, Metadata, join_metadata
from curator_dask.data.user_tables.table import UserTable
from curator_dask.export.planned.columns import CAPTION, CAPTION_BYTES, metadata_row, metadata_schema
from curator_dask.export.samples import ClipMetadata
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ExportedMetadata:
    """A table, joined to the clips to export."""

    joined: Metadata
    has_captions: bool

    def columns(self, ids: Iterable[str]) -> dict[str, pa.Array]:
        """What the table says of some clips, as columns of records, and the bytes of their captions if samples have them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = pa.Table.from_pylist([metadata_row(self._of(one)) for one in ids], schema=metadata_schema())
        found = dict(zip(rows.column_names, rows.columns, strict=True))
        if self.has_captions:
            found[CAPTION_BYTES] = pc.binary_length(rows[CAPTION]).cast(pa.int64())
        return found

    def _of(self, clip_id: str) -> ClipMetadata:
        row = self.joined.rows.get(clip_id)
        if row is None:
            return ClipMetadata(self.joined.without_row, "" if self.has_captions else None, has_row=False)
        return ClipMetadata(*row)

    def schema(self) -> pa.Schema:
        """The carried columns as they stand in a table of clips."""
        import pyarrow as pa

        return pa.schema([(name, arrow_type(kind)) for name, kind in self.joined.kinds.items()])

    def counts(self, exported: Iterable[str]) -> dict[str, int]:
        """How many of the exported clips have a row and a caption, and how many rows of the table name nothing."""
        num_clips = num_found = num_empty = 0
        for known in map(self._of, exported):
            num_clips, num_found = num_clips + 1, num_found + known.has_row
            num_empty += not (known.caption or "").strip()
        captions = {"captions_empty": num_empty}
        return {
            "clips_with_metadata": num_found,
            "clips_without_metadata": num_clips - num_found,
            **(captions if self.has_captions else {}),
            "metadata_rows": self.joined.num_rows,
            "metadata_rows_unmatched": self.joined.num_unmatched,
            "metadata_rows_ambiguous": self.joined.num_ambiguous,
        }


def join_to_clips(table: UserTable, choice: Choice, clips: Folder, chosen: Collection[str]) -> ExportedMetadata:
    """The table joined to the chosen clips of an output of the split stage."""
    return ExportedMetadata(join_metadata(table, choice, _names(clips, chosen)), choice.caption_column is not None)


def _names(clips: Folder, wanted: Collection[str]) -> ClipNames:
    index = read_clip_index(clips, ["id", "relative_path", "source_video"])
    ids, relative, full = (index[name].to_pylist() for name in index.column_names)
    videos = dict.fromkeys(zip(relative, full, strict=True))
    numbers = {video: number for number, video in enumerate(videos)}
    video_of = [numbers[video] for video in zip(relative, full, strict=True)]
    return ClipNames(ids, [(_written(path), full_path) for path, full_path in videos], video_of, wanted)


def _written(stored: str) -> str:
    """A path of the clip index as a person writes it; one that is no valid text stays as it stands there."""
    name = real_name(stored)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return stored
    return name
