"""The user's table whose rows an export carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curator_dask.data.user_tables.choice import Choice
from curator_dask.data.user_tables.table import UserTable
from curator_dask.stages.export.parameters import ExportParameters


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
