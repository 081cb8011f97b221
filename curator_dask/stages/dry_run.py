"""A dry run of several stages, each of which reads what the one before it writes."""

from __future__ import annotations

from collections.abc import Sequence

from curator_dask.stages.base import RunContext, Stage, StageResult


def plan_stages(stages: Sequence[Stage], context: RunContext) -> tuple[StageResult, ...]:
    """The results of a dry run: each stage is refused as the run would refuse it, and counts what it has to do.

    A stage whose input is still to be made by the one before it counts nothing.
    """
    results: list[StageResult] = []
    finished = True
    for stage in stages:
        state = stage.state()
        if finished or state is None:
            results.append(stage.run(context=context))
        else:
            stage.check(context)
            results.append(StageResult(stage.name, state.folder, {}))
        finished = finished and (state is None or state.summary() is not None)
    return tuple(results)
