"""Check that the numbers in the records of an output agree with each other and with its lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curator_dask.errors import CuratorError
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_batches
from curator_dask.files.layout import DROP_LIST, KEEP_LIST, REMOVE_LIST, RUN_RECORD, SUMMARY
from curator_dask.files.names import counted
from curator_dask.verify.check_decisions import wrong_decisions
from curator_dask.verify.finding import COUNTS, DAMAGED, DOUBLED, Finding
from curator_dask.verify.stage_records import StageRecords
from curator_dask.verify.texts import Texts

SUMS = {
    "split": ("clips_planned", ("clips", "clips_failed")),
    "embed": ("clips_in", ("embeddings", "clips_plain", "clips_failed", "clips_open")),
    "kmeans": ("rows_in", ("rows", "rows_rejected")),
    "identify": ("rows", ("kept", "removed", "dropped")),
    "sample": ("kept", ("clips", "not_sampled")),
}
"""Stage → a count, and the counts that it is the sum of."""
LISTS = {
    "identify": ((KEEP_LIST, "kept"), (REMOVE_LIST, "removed"), (DROP_LIST, "dropped")),
    "sample": ((KEEP_LIST, "clips"),),
}
"""Stage → its lists of ids, and the counts that are their lengths."""
TOTALS = ("clips", ("kept", "removed", "dropped", "plain", "failed", "open"))
ONLY_WHERE_SOME = frozenset({"clips_open", "open", "dropped"})
"""Counts that are left out where they are 0."""


def wrong_counts(root: Folder, stages: Sequence[StageRecords], scratch: Path) -> Iterator[Finding]:
    """Counts that do not add up, and lists of decisions of another length or with an id twice.

    Ids are sorted in the local folder `scratch`.
    """
    for stage in stages:
        path = stage.prefix + stage.state.path(SUMMARY)
        counts = (stage.state.summary() or {}).get("counts", {})
        if stage.name in SUMS:
            yield from _wrong_sum(stage.name, path, counts, *SUMS[stage.name])
        if stage.name in LISTS:
            yield from _wrong_lists(stage, counts, scratch)
        if stage.name == "identify":
            yield from wrong_decisions(stage, counts, scratch)
    yield from _wrong_totals(root)


def _wrong_sum(stage: str, path: str, counts: Any, whole: str, parts: Sequence[str]) -> Iterator[Finding]:
    if not isinstance(counts, dict) or not {whole, *parts} - ONLY_WHERE_SOME <= counts.keys():
        return
    total = sum(counts.get(part, 0) for part in parts)
    if counts[whole] != total:
        yield Finding(stage, path, COUNTS, f"{whole} is {counts[whole]}, and {' + '.join(parts)} is {total}")


def _wrong_lists(stage: StageRecords, counts: Any, scratch: Path) -> Iterator[Finding]:
    ids = Texts(scratch)
    if isinstance(counts, dict) and "dropped" in counts:
        counts = {**counts, "dropped": counts["dropped"] + counts.get("plain_dropped", 0)}
    for name, count in LISTS[stage.name]:
        if name not in stage.published or not stage.state.folder.exists(name):
            continue
        try:
            num_listed = _add_list(ids, stage.state.folder, name)
        except (CuratorError, ValueError) as error:
            yield Finding(stage.name, stage.prefix + name, DAMAGED, f"cannot be read: {error}")
            continue
        if num_listed != counts.get(count, num_listed):
            yield Finding(
                stage.name,
                stage.prefix + name,
                COUNTS,
                f"lists {counted(num_listed, 'ids')}; the stage counted {counts[count]} {count}",
            )
    for twice in ids.twice():
        yield Finding(stage.name, stage.prefix + KEEP_LIST, DOUBLED, f"the clip {twice!r} is listed twice")


def _add_list(ids: Texts, folder: Folder, path: str) -> int:
    """Add the ids of a list; returns their number."""
    num_listed = 0
    with folder.open(path) as stream:
        for batch in id_list_batches(stream):
            ids.add(batch)
            num_listed += len(batch)
    return num_listed


def _wrong_totals(root: Folder) -> Iterator[Finding]:
    if not root.exists(RUN_RECORD):
        return
    try:
        record = json.loads(root.read_bytes(RUN_RECORD))
        totals = record.get("totals")
    except (ValueError, AttributeError) as error:
        yield Finding("", RUN_RECORD, DAMAGED, f"cannot be read: {error}")
        return
    yield from _wrong_sum("", RUN_RECORD, totals, *TOTALS)
