"""What a person chose of a table to carry: the column that names clips or videos, columns for the JSON, and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from curator_dask.data.tables import require_columns
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError
from curator_dask.files.names import printable

KEYS: Final = (
    "clip_id", "id", "span_uuid", "source_video", "relative_path", "source", "path", "video", "video_path", "video_id",
    "file", "filename", "file_name", "name", "url",
)  # fmt: skip
"""Columns that may name clips or videos, in any case of letters. Of those that do, the one with most hits is the key."""


@dataclass(frozen=True)
class Choice:
    """What is taken from a table."""

    key: str | None = None
    columns: Sequence[str] | None = None
    caption_column: str | None = None

    def carried(self, table: UserTable, key: str) -> list[str]:
        """The columns that go into the JSON: those that were named, else all but the key and the caption."""
        if self.columns is not None:
            return list(self.columns)
        return [name for name in table.columns() if name not in ("", key, self.caption_column)]

    def check(self, table: UserTable) -> None:
        """Raise InputError where the table lacks a column that is named, or has none that could be the key."""
        names = table.columns()
        require_columns(table.shown, names, self._named())
        if self.key is None and not key_columns(names):
            raise InputError(
                f"no column of {table.shown} has a name that tells of clips or videos ({', '.join(KEYS)}); its columns are "
                f"{', '.join(map(printable, names))}. Name the one that does with metadata_key"
            )

    def _named(self) -> list[str]:
        named = (self.key, *(self.columns or ()), self.caption_column)
        return list(dict.fromkeys(name for name in named if name is not None))


def key_columns(names: Sequence[str]) -> list[str]:
    """The columns that may be the key, by their names, the likeliest first."""
    likely = [name for name in names if name.strip().lower() in KEYS]
    return sorted(likely, key=lambda name: KEYS.index(name.strip().lower()))
