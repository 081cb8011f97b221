"""Check the decisions of identify, which lie in parts: their numbers, and that each clip is decided on once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from curator_dask.data.decisions.read_decisions import decision_batches, decision_parts
from curator_dask.errors import CuratorError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import DECISIONS
from curator_dask.files.names import counted
from curator_dask.verify.finding import COUNTS, DAMAGED, DOUBLED, Finding
from curator_dask.verify.stage_records import StageRecords
from curator_dask.verify.texts import Texts


def wrong_decisions(stage: StageRecords, counts: Any, scratch: Path) -> Iterator[Finding]:
    """Parts that cannot be read, whose clips are not as many as the stage counted, or that name a clip twice.

    Ids are sorted in the local folder `scratch`.
    """
    folder, path = stage.state.folder, f"{stage.prefix}{DECISIONS}"
    try:
        if not decision_parts(folder):
            return
        found, twice = _count(folder, scratch)
    except CuratorError as error:
        yield Finding(stage.name, path, DAMAGED, f"cannot be read: {error}")
        return
    for name in ("kept", "removed"):
        if isinstance(counts, dict) and found[name] != counts.get(name, found[name]):
            what = f"hold {counted(found[name], 'clips')} {name}; the stage counted {counts[name]}"
            yield Finding(stage.name, path, COUNTS, what)
    for name in twice:
        yield Finding(stage.name, path, DOUBLED, f"the clip {name!r} is listed twice")


def _count(folder: Folder, scratch: Path) -> tuple[dict[str, int], list[str]]:
    """How many clips are kept and removed, and the ids that stand there more than once, sorted."""
    ids, num_rows, removed = Texts(scratch), 0, 0
    for batch in decision_batches(folder, ["id", "removed"]):
        ids.add(batch["id"].to_pylist())
        num_rows += len(batch)
        removed += int(np.count_nonzero(batch["removed"].to_numpy()))
    return {"kept": num_rows - removed, "removed": removed}, ids.twice()
