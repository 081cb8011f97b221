"""What the cells of a CSV column stand for: whole numbers, numbers, truth values, or texts. All cells of a column decide.

An empty cell is null. In a column of numbers or truth values, so are the words of `MISSING`. A number that would not come
back as it was written makes its column one of texts: one with zeros in front (``007``), and one of too many digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

MISSING: Final = ("nan", "NaN", "NA", "N/A", "null", "NULL", "None")
PATTERNS: Final = {
    "int": r"^-?(0|[1-9][0-9]{0,17})$",
    "float": r"^-?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$",
    "bool": r"^([Tt]rue|TRUE|[Ff]alse|FALSE)$",
}
"""Kind → which texts are of it, in the syntax of RE2; the first one that fits all cells of a column is its kind."""


def csv_kinds(batches: Iterable[pa.Table]) -> dict[str, str]:
    """Column → ``int``, ``float``, ``bool`` or ``str``. A column without any value is one of texts."""
    possible: dict[str, set[str]] = {}
    seen: set[str] = set()
    for batch in batches:
        for name, cells in zip(batch.column_names, batch.columns, strict=True):
            values = _values(cells)
            seen |= {name} if len(values) else set()
            left = possible.setdefault(name, set(PATTERNS))
            left -= {kind for kind in left if not _all_match(values, PATTERNS[kind])}
    return {name: next((k for k in PATTERNS if k in left and name in seen), "str") for name, left in possible.items()}


def csv_values(cells: Any, kind: str) -> Any:
    """Cells of a column as values of its kind, as `csv_kinds` found it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    given = pc.if_else(pc.equal(cells, ""), None, cells)
    if kind == "str":
        return given
    given = pc.if_else(pc.is_in(given, value_set=pa.array(MISSING)), None, given)
    if kind == "bool":
        return pc.equal(pc.utf8_lower(given), "true")
    return given.cast(pa.int64() if kind == "int" else pa.float64())


def _values(cells: Any) -> Any:
    """The cells that are not empty and stand for no missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return cells.filter(pc.invert(pc.is_in(cells, value_set=pa.array(["", *MISSING]))))


def _all_match(values: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py())
