"""Several stages in order.

::

    pipe = Pipeline(name="dedup")
    pipe.add_stage(KMeansStage(...)).add_stage(PairwiseStage(...))
    results = pipe.run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_dask.errors import ParameterError
from curator_dask.stages.base import RunContext, Stage, StageResult, run_context

if TYPE_CHECKING:
    from distributed import Client


class Pipeline:
    """Stages that run one after another. Each continues where an earlier run of it stopped."""

    def __init__(self, name: str = "pipeline", description: str = "", stages: list[Stage] | None = None) -> None:
        self.name = name
        self.description = description
        self.stages: list[Stage] = []
        for stage in stages or []:
            self.add_stage(stage)

    def add_stage(self, stage: Stage) -> Pipeline:
        if not isinstance(stage, Stage):
            raise ParameterError(f"add_stage takes a Stage, not {type(stage).__name__}: {stage!r}")
        self.stages.append(stage)
        return self

    def run(self, client: Client | None = None, *, context: RunContext | None = None) -> list[StageResult]:
        """Run all stages, in a context as `run_context` makes it; returns their results in order."""
        if not self.stages:
            raise ParameterError(f"pipeline {self.name!r} has no stages: call add_stage first")
        with run_context(client, context) as context:
            return [stage.run(context=context) for stage in self.stages]

    def describe(self) -> str:
        """The stages and their parameters as text."""
        lines = [f"Pipeline: {self.name}", *([self.description] if self.description else [])]
        for number, stage in enumerate(self.stages, 1):
            lines.append(f"  {number}. {stage.name}")
            lines.extend(f"       {name}: {value}" for name, value in stage.identity().items())
        return "\n".join(lines)
