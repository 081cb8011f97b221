"""A table that a user brings, CSV or Parquet: its columns, and its rows in batches, so that it may have millions of them.

All cells of a CSV file are read as text; what they stand for says `csv_kinds`. Nothing in a table is trusted.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from curator_dask.data.tables import open_parquet, require_columns, without_dictionaries, without_views
from curator_dask.data.user_tables.csv_quotes import CheckedStream
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}
PARQUET: Final = (".parquet", ".pq")
BATCH_ROWS: Final = 65_536
BLOCK_BYTES: Final = 16 << 20
"""Bytes of a CSV file that are read at a time; no row may be longer."""


@dataclass(frozen=True)
class UserTable:
    """One CSV or Parquet file, local or anywhere that fsspec reaches."""

    folder: Folder
    name: str

    @staticmethod
    def at(path: str, storage_options: Mapping[str, Any] | None = None) -> UserTable:
        """The table in this file. Raises InputError where there is no file, or none of a known ending."""
        if not path.lower().endswith((*SEPARATORS, *PARQUET)):
            known = " ".join((*SEPARATORS, *PARQUET))
            raise InputError(f"{printable(path)} is no table that can be read: its name must end in one of {known}")
        table = UserTable(Folder(posixpath.dirname(path) or ".", storage_options or {}), posixpath.basename(path))
        if not table.folder.below(table.name).is_file():
            raise InputError(f"there is no file {printable(path)}: give a CSV or Parquet file")
        return table

    @property
    def is_text(self) -> bool:
        """Whether it is a CSV file, whose cells are texts."""
        return not self.name.lower().endswith(PARQUET)

    @property
    def shown(self) -> str:
        """The path of the file, for messages."""
        return printable(self.folder.join(self.name))

    def columns(self) -> list[str]:
        """The names of its columns. Raises InputError where they cannot be read or a name comes twice."""
        names = self._names()
        if doubled := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{self.shown} has more than one column {printable(doubled[0])!r}: rename one of them")
        if len(names) == 1 and (separator := next((one for one in ";\t," if one in names[0]), None)):
            raise InputError(f"the columns of {self.shown} are separated by {separator!r}: write commas between them")
        return names

    def _names(self) -> list[str]:
        if not self.is_text:
            with open_parquet(self.folder, self.name) as file:
                return list(file.schema_arrow.names)
        with self._csv() as reader:
            return list(reader.schema.names)

    def num_bytes(self) -> int:
        """The size of the file."""
        return self.folder.size(self.name) or 0

    def check_rows(self) -> None:
        """Read a CSV file through. Raises InputError where no row can be told from the next, as by a quote that is not closed."""
        for _ in self._text_batches(self.columns()[:1]) if self.is_text else ():
            pass

    def types(self) -> dict[str, pa.DataType]:
        """The types of the columns of a Parquet file."""
        with open_parquet(self.folder, self.name) as file:
            schema = without_dictionaries(without_views(file.schema_arrow.empty_table())).schema
            return dict(zip(schema.names, schema.types, strict=True))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Its rows, some at a time, in their order. Raises InputError for a missing column and a damaged file."""
        require_columns(self.shown, self.columns(), columns)
        return self._text_batches(columns) if self.is_text else self._parquet_batches(columns)

    def _parquet_batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        import pyarrow as pa

        with open_parquet(self.folder, self.name, read_bytes=1 << 20) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                yield without_dictionaries(without_views(pa.Table.from_batches([batch]).select(list(columns))))

    def _text_batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        import pyarrow as pa

        with self._csv(columns) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])

    @contextlib.contextmanager
    def _csv(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """A reader of the CSV file: of its header, or of these columns as texts."""
        import pyarrow as pa
        import pyarrow.csv as pc

        separator = SEPARATORS[posixpath.splitext(self.name)[1].lower()]
        as_text = pc.ConvertOptions(
            strings_can_be_null=False,
            column_types=dict.fromkeys(columns or (), pa.string()),
            include_columns=list(columns or ()),
        )
        with self.folder.open(self.name) as stream:
            checked = CheckedStream(stream, separator)
            try:
                with pc.open_csv(
                    checked,
                    read_options=pc.ReadOptions(block_size=BLOCK_BYTES),
                    parse_options=pc.ParseOptions(delimiter=separator, newlines_in_values=True),
                    convert_options=as_text,
                ) as reader:
                    yield reader
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise self._error(checked, error) from error
            if checked.fault and columns:  # a header is read with as much of the rows as happens to come
                raise self._error(checked)

    def _error(self, checked: CheckedStream, error: Exception | None = None) -> InputError:
        if checked.fault:
            return InputError(f"{self.shown} cannot be read: {checked.fault}, so the rows behind it would be lost")
        told = printable(str(error))[:200]
        if "straddling" not in told:
            return InputError(f"{self.shown} is no CSV file in UTF-8: {told}")
        why = (
            "" if checked.open_line is None else f"; a quote in line {checked.open_line} opens a cell that does not end"
        )
        return InputError(f"{self.shown} cannot be read: a row is longer than {BLOCK_BYTES >> 20} MiB{why}")
