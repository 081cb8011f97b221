"""What a user's table says of the clips to export: columns for the JSON of each sample, and captions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from curator_dask.data.clip_index import read_clip_index, real_name
from curator_dask.data.user_tables.carried import arrow_type
from curator_dask.data.user_tables.metadata import Choice, ClipNames, Metadata, join_metadata
from curator_dask.data.user_tables.table import UserTable
from curator_dask.export.samples import ClipMetadata, ClipRecord
from curator_dask.files.folder import Folder
from curator_dask.stages.export.parameters import ExportParameters

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ExportedMetadata:
    """A table, joined to the clips to export."""

    joined: Metadata
    has_captions: bool

    def of(self, records: Sequence[ClipRecord]) -> list[ClipRecord]:
        """The clips with what the table says of them."""
        return [replace(record, metadata=self._of(record.id)) for record in records]

    def _of(self, clip_id: str) -> ClipMetadata:
        row = self.joined.rows.get(clip_id)
        if row is None:
            return ClipMetadata(self.joined.without_row, "" if self.has_captions else None, has_row=False)
        return ClipMetadata(*row)

    def schema(self) -> pa.Schema:
        """The carried columns as they stand in a table of clips."""
        import pyarrow as pa

        return pa.schema([(name, arrow_type(kind)) for name, kind in self.joined.kinds.items()])

    def counts(self, exported: Collection[ClipRecord]) -> dict[str, int]:
        """How many of the exported clips have a row and a caption, and how many rows of the table name nothing."""
        known = [record.metadata for record in exported if record.metadata is not None]
        num_found = sum(one.has_row for one in known)
        captions = {"captions_empty": sum(not (one.caption or "").strip() for one in known)}
        return {
            "clips_with_metadata": num_found,
            "clips_without_metadata": len(known) - num_found,
            **(captions if self.has_captions else {}),
            "metadata_rows": self.joined.num_rows,
            "metadata_rows_unmatched": self.joined.num_unmatched,
            "metadata_rows_ambiguous": self.joined.num_ambiguous,
        }


def metadata_table(parameters: ExportParameters, storage_options: Mapping[str, Any]) -> tuple[UserTable, Choice] | None:
    """The table and what is taken from it; None if there is none. Raises InputError where it lacks a column."""
    if parameters.metadata is None:
        return None
    choice = Choice(parameters.metadata_key, parameters.carried_columns(), parameters.caption_column)
    table = UserTable.at(parameters.metadata, storage_options)
    choice.check(table)
    return table, choice


def check_metadata(parameters: ExportParameters, storage_options: Mapping[str, Any]) -> None:
    """Look at the whole table before any work. Raises InputError where it lacks a column or its rows cannot be read."""
    found = metadata_table(parameters, storage_options)
    if found is not None:
        found[0].check_rows()


def join_to_clips(parameters: ExportParameters, clips: Folder, chosen: Sequence[ClipRecord]) -> ExportedMetadata | None:
    """The table joined to the chosen clips of an output of the split stage; None if there is no table."""
    found = metadata_table(parameters, clips.storage_options)
    if found is None:
        return None
    table, choice = found
    return ExportedMetadata(
        join_metadata(table, choice, _names(clips, {record.id for record in chosen})), choice.caption_column is not None
    )


def _names(clips: Folder, wanted: Collection[str]) -> ClipNames:
    index = read_clip_index(clips).select(["id", "relative_path", "source_video"])
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
