"""Columns that stand in the names of folders: ``year=2024/part-0.parquet``, as Hive, Spark and Arrow write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder of rows without a value."""
_WHOLE_NUMBER = re.compile(r"-?\d+", re.ASCII)


def partition_values(path: str) -> dict[str, str | None]:
    """The values in the folders of a path, by column.

    >>> partition_values("year=2024/city=S%C3%A3o Paulo/month=__HIVE_DEFAULT_PARTITION__/a=b.parquet")
    {'year': '2024', 'city': 'São Paulo', 'month': None}
    """
    folders = (part.partition("=") for part in path.split("/")[:-1] if "=" in part)
    return {unquote(name): None if value == NULL else unquote(value) for name, _, value in folders}


def partition_types(paths: Iterable[str]) -> dict[str, str]:
    """The Arrow type of each column in the folders of these paths, as Arrow chooses it.

    ``int32`` where all values are such numbers, else ``string``. All paths count, so that all files get one type.
    """
    types: dict[str, str] = {}
    for path in paths:
        for name, value in partition_values(path).items():
            kind = "int32" if value is None or _is_int32(value) else "string"
            types[name] = "string" if "string" in (kind, types.get(name)) else kind
    return types


def _is_int32(value: str) -> bool:
    return bool(_WHOLE_NUMBER.fullmatch(value)) and -(2**31) <= int(value) < 2**31
