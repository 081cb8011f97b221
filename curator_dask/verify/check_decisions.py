"""Check the decisions of identify, which lie in parts: their numbers, and that each clip is decided on once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.read_decisions import decision_batches, decision_parts
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.errors import CuratorError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import DECISIONS
from curator_dask.files.names import counted
from curator_dask.verify.finding import COUNTS, DAMAGED, DOUBLED, Finding
from curator_dask.verify.stage_records import StageRecords


def wrong_decisions(stage: StageRecords, counts: Any) -> Iterator[Finding]:
    """Parts that cannot be read, whose clips are not as many as the stage counted, or that name a clip twice.

    Memory holds eight bytes per clip.
    """
    folder, path = stage.state.folder, f"{stage.prefix}{DECISIONS}"
    try:
        if not decision_parts(folder):
            return
        found, twice = _count(folder)
    except CuratorError as error:
        yield Finding(stage.name, path, DAMAGED, f"cannot be read: {error}")
        return
    for name in ("kept", "removed"):
        if isinstance(counts, dict) and found[name] != counts.get(name, found[name]):
            what = f"hold {counted(found[name], 'clips')} {name}; the stage counted {counts[name]}"
            yield Finding(stage.name, path, COUNTS, what)
    for name in twice:
        yield Finding(stage.name, path, DOUBLED, f"the clip {name!r} is listed twice")


def _count(folder: Folder) -> tuple[dict[str, int], list[str]]:
    """How many clips are kept and removed, and the ids that stand there more than once, sorted."""
    hashes, removed = [], 0
    for batch in decision_batches(folder, ["id", "removed"]):
        hashes.append(_hashes(batch))
        removed += int(np.count_nonzero(batch["removed"].to_numpy()))
    ordered = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    alike = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return {"kept": len(ordered) - removed, "removed": removed}, _doubled(folder, alike)


def _doubled(folder: Folder, alike: NDArray[np.uint64]) -> list[str]:
    """The ids that stand there more than once, among those with these hashes: two ids may share one."""
    if not len(alike):
        return []
    ids: Counter[str] = Counter()
    for batch in decision_batches(folder, ["id"]):
        some = np.isin(_hashes(batch), alike)
        ids.update(name for name, is_one in zip(batch["id"].to_pylist(), some.tolist(), strict=True) if is_one)
    return sorted(name for name, times in ids.items() if times > 1)


def _hashes(batch: Any) -> NDArray[np.uint64]:
    return sample_priority(np.array(batch["id"].to_pylist(), object), 0)
