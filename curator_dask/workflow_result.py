"""What came of a whole run: the results of its stages, and counts that add up."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.files.folder import Folder
from curator_dask.stages.base import StageResult
from curator_dask.stages.glance import glance_at
from curator_dask.stages.run_record import Totals


@dataclass(frozen=True)
class WorkflowResult:
    """The results of the stages in order, and the number of clips kept, removed, plain and failed."""

    stages: tuple[StageResult, ...]
    totals: Totals | None
    """None if no decisions were made: in a dry run, or after split and embed alone."""
    output: Folder

    @property
    def num_open(self) -> int:
        """Failures that say something of the machine and not of the data: a new run tries them again."""
        return sum(result.num_open for result in self.stages)

    @property
    def num_failed(self) -> int:
        """Failures that are a property of the data, and would come again."""
        return sum(result.num_failed for result in self.stages)

    def stage(self, name: str) -> StageResult:
        return next(result for result in self.stages if result.stage == name)

    def __repr__(self) -> str:
        told = self.totals or ", ".join(result.stage for result in self.stages)
        return f"<WorkflowResult: {told} → {self.output.url}>"

    def _repr_html_(self) -> str:
        tables = "".join(result._repr_html_() for result in self.stages)
        if self.totals is None:
            return tables
        seen = glance_at(self.output, self.totals.counts())
        return (seen or f"<b>{self.totals}</b>") + f"<details><summary>the steps</summary>{tables}</details>"
