"""What a run of several stages leaves beside their outputs: ``run.json`` and ``failures.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curator_dask._version import __version__
from curator_dask.errors import CuratorError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.runtime.records import dump_json, failures_jsonl
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import Stage, StageResult

RUN = "run"
"""Has records as a stage has, so that `verify` notices if one of these files is changed or missing."""


@dataclass(frozen=True)
class Totals:
    """Number of planned clips, and how many of them were kept, removed, too plain for a vector, failed, open, or dropped."""

    clips: int
    kept: int
    removed: int
    plain: int
    failed: int
    open: int = 0
    """Clips that failed because of the machine: the next run tries them again."""
    dropped: int = 0
    """Clips that filters dropped for what their pictures are like."""

    @property
    def sum(self) -> int:
        return self.kept + self.removed + self.dropped + self.plain + self.failed + self.open

    def counts(self) -> dict[str, int]:
        """The numbers by name; those of open and of dropped clips only where there are some."""
        return {name: number for name, number in asdict(self).items() if number or name not in ("open", "dropped")}

    def __str__(self) -> str:
        plain = f" + {self.dropped} dropped" if self.dropped else ""
        plain += f" + {self.plain} plain" if self.plain else ""
        left = f" + {self.open} open" if self.open else ""
        return f"{counted(self.clips, 'clips')} = {self.kept} kept + {self.removed} removed{plain} + {self.failed} failed{left}"


def describe_failures(results: Sequence[StageResult]) -> str:
    """How many things failed for good, and how many a new run tries again: ``3 failed, 2 open: run again``."""
    num_failed, num_open = sum(one.num_failed for one in results), sum(one.num_open for one in results)
    return f"{num_failed:,} failed, {num_open:,} open: run again"


def add_totals(results: Sequence[StageResult]) -> Totals:
    """The totals of a whole run. Raises CuratorError if they do not add up: that would be a fault of this package."""
    counts = {result.stage: dict(result.counts) for result in results}
    split, embed, kmeans, identify = (counts[name] for name in ("split", "embed", "kmeans", "identify"))
    export = counts.get("export", {})
    not_exported, lost_plain = (export.get(name, 0) for name in ("clips_failed", "plain_failed"))
    failed = split["clips_failed"] + embed["clips_failed"] + kmeans["rows_rejected"] + not_exported
    left = embed.get("clips_open", 0) + export.get("clips_open", 0)
    lost = not_exported + export.get("clips_open", 0)
    dropped_plain = identify.get("plain_dropped", 0)
    dropped = identify.get("dropped", 0) + dropped_plain
    kept, plain = identify["kept"] - (lost - lost_plain), embed["clips_plain"] - lost_plain - dropped_plain
    totals = Totals(split["clips_planned"], kept, identify["removed"], plain, failed, left, dropped)
    if totals.clips != totals.sum:
        raise CuratorError(f"the counts do not add up: {totals}; counts per stage: {counts}")
    return totals


def write_run_record(
    folder: Folder, stages: Sequence[Stage], results: Sequence[StageResult], totals: Totals | None
) -> None:
    """Write ``run.json`` and ``failures.jsonl``. They do not depend on time, place or number of workers."""
    record: dict[str, Any] = {
        "version": __version__,
        "parameters": {stage.name: stage.identity() for stage in stages},
        "stages": {result.stage: dict(result.counts) for result in results},
        "left_out": {result.stage: result.left_out for result in results if result.left_out},
        "totals": totals.counts() if totals else None,
    }
    state = StageState(folder, RUN)
    state.claim({}, overwrite=True)  # damaged records are written anew
    state.publish(layout.RUN_RECORD, dump_json(record))
    failures = [failure for result in results for failure in result.failures]
    state.publish(layout.FAILURES, failures_jsonl(failures))
    state.note_parameters()
