"""Decisions by hand, ``overrides.csv``: ``id,decision,note`` per line; the decision is ``keep`` or ``remove``.

``curator-dask review`` writes the file, and so may anyone with an editor or a spreadsheet. Cells are written as in
``duplicates.csv``: a text that a spreadsheet would take for a formula has an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import cell_text

OVERRIDES: Final = "overrides.csv"
KEEP, REMOVE = "keep", "remove"
_COLUMNS: Final = ("id", "decision", "note")
_FORMULA: Final = tuple("'=+-@\t\r\n＝＋－＠")


@dataclass(frozen=True, slots=True)
class Override:
    """What a person decided on one clip."""

    decision: str
    """``keep`` or ``remove``."""
    note: str = ""


def read_overrides(path: str, storage_options: Mapping[str, Any] | None = None) -> dict[str, Override]:
    """The decisions by id. Raises InputError where the file is not there or a line of it cannot be understood."""
    folder, name = Folder(posixpath.dirname(path) or ".", storage_options or {}), posixpath.basename(path)
    try:
        data = folder.read_bytes(name)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"there is no file {path}: give the overrides.csv that review wrote, or your own") from error
    try:
        return parse_overrides(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_overrides(text: str) -> dict[str, Override]:
    """The decisions in the text of a CSV file; the order of columns does not matter, further columns are passed over."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    if len(names) == 1 and (separator := next((one for one in ";\t" if one in names[0]), None)):
        name = "a semicolon" if separator == ";" else "a tab"
        raise InputError(f"the columns are separated by {name}; save the file with commas between them")
    if not {"id", "decision"} <= set(names):
        raise InputError(f"the first line names the columns {names}; it must name id and decision, and may name note")
    reader.fieldnames = names
    found: dict[str, Override] = {}
    for row in reader:
        if any(value for value in row.values()):
            _add(found, row, reader.line_num)
    return found


def _add(found: dict[str, Override], row: Mapping[str, Any], line: int) -> None:
    clip_id, decision = cell_text(row["id"] or ""), (row["decision"] or "").strip().lower()
    if not clip_id:
        raise InputError(f"line {line} has no id")
    if decision not in (KEEP, REMOVE):
        raise InputError(f"line {line} decides {row['decision']!r} on {clip_id!r}: write keep or remove")
    if clip_id in found and found[clip_id].decision != decision:
        raise InputError(f"line {line} decides {decision} on {clip_id!r}, and a line before it the opposite: leave one")
    found[clip_id] = Override(decision, cell_text(row.get("note") or ""))


def overrides_csv(overrides: Mapping[str, Override]) -> bytes:
    """The file, by id."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for clip_id, override in sorted(overrides.items()):
        writer.writerow([_safe_cell(clip_id), override.decision, _safe_cell(override.note)])
    return sink.getvalue().encode("utf-8", "surrogateescape")


def _safe_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
