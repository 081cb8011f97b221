"""The rows of a user's table as they are carried: the JSON that a sample gets, and its caption."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from curator_dask.data.user_tables.carried import carried_values, kind_of
from curator_dask.data.user_tables.choice import Choice
from curator_dask.data.user_tables.csv_kinds import csv_kinds, csv_values
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROW_BYTES: Final = 512 << 10
"""The most that one row may be as JSON, and the most that a caption may have."""


@dataclass(frozen=True)
class CarriedRows:
    """Makes the JSON and the captions of rows."""

    table: UserTable
    key: str
    carried: Sequence[str]
    caption: str | None
    known: Mapping[str, str]
    """The kinds of the carried columns and of the caption."""

    @staticmethod
    def of(table: UserTable, key: str, choice: Choice) -> CarriedRows:
        """Raises InputError for a column that cannot be carried, and for a caption column of lists."""
        carried, caption = choice.carried(table, key), choice.caption_column
        columns = list(dict.fromkeys((*carried, *([caption] if caption is not None else []))))
        if table.is_text:
            found = csv_kinds(table.batches(columns)) if columns else {}
            known = {name: found.get(name, "str") for name in columns}
        else:
            types = table.types()
            known = {name: kind_of(name, types[name]) for name in columns}
        if caption is not None and known[caption].startswith("list["):
            raise InputError(f"caption_column {printable(caption)!r} holds lists: name a column of texts")
        return CarriedRows(table, key, carried, caption, known)

    @property
    def kinds(self) -> dict[str, str]:
        """Carried column → its kind in JSON."""
        return {name: self.known[name] for name in self.carried}

    def batches(self) -> Iterator[tuple[Any, pa.Table]]:
        """The rows of the table, in its order: cells of the key, and the columns that `texts` needs, named by their places."""
        places = [str(place) for place in range(len(self.known))]
        for batch in self.table.batches(list(dict.fromkeys((self.key, *self.known)))):
            columns = batch.select(list(self.known)).replace_schema_metadata(None)
            yield batch[self.key], columns.rename_columns(places)

    def texts(self, rows: pa.Table) -> Iterator[tuple[str, str | None]]:
        """The JSON and the caption of each of these rows. Raises InputError for one that is too long."""
        columns = {name: self._values(name, rows[str(at)]).to_pylist() for at, name in enumerate(self.known)}
        captions = columns[self.caption] if self.caption is not None else [None] * len(rows)
        for at, caption in enumerate(captions):
            text = json.dumps({name: columns[name][at] for name in self.carried}, allow_nan=False)
            told = None if self.caption is None else "" if caption is None else str(caption)
            self._check_size(text, told)
            yield text, told

    def _values(self, name: str, cells: Any) -> Any:
        return csv_values(cells, self.known[name]) if self.table.is_text else carried_values(name, cells)

    def _check_size(self, text: str, caption: str | None) -> None:
        if max(len(text), len((caption or "").encode())) > MAX_ROW_BYTES:
            raise InputError(
                f"a row of {self.table.shown} is longer than {MAX_ROW_BYTES >> 10} KiB: {printable(text[:100])!r}… Choose "
                "the columns to carry with metadata_columns"
            )
