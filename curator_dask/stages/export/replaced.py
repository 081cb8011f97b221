"""Which files of an earlier export are replaced, as the clips to export are no longer the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curator_dask.files.names import counted
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.base import RunContext


def tell_replaced(
    state: StageState, units: Sequence[Unit[Any]], context: RunContext, *, has_table: bool, of: str = "files"
) -> None:
    """Say how many files of the earlier export are written anew or removed: somebody may have handed them on.

    `of` says what a unit writes.
    """
    wanted = {unit.key: unit.inputs for unit in units}
    earlier = state.done_units()
    changed = [key for key, inputs in earlier.items() if key in wanted and wanted[key] != inputs]
    gone = earlier.keys() - wanted.keys()
    if not changed and not gone:
        return
    anew, removed = (f"{len(keys)} {_verb(len(keys), context)}" for keys in (changed, gone))
    what = "other clips or another table" if has_table else "other clips"
    context.reporter.note(
        f"export: {what} than before: of {counted(len(earlier), of)} {anew} written anew and "
        f"{removed} removed; "
        "choose another output folder to keep the earlier export"
    )


def _verb(number: int, context: RunContext) -> str:
    if context.dry_run:
        return "would be"
    return "is" if number == 1 else "are"
