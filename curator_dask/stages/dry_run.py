"""A dry run of several stages, each of which reads what the one before it writes."""

from __future__ import annotations

from collections.abc import Sequence

from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, Stage, StageResult


def plan_stages(stages: Sequence[Stage], context: RunContext) -> tuple[StageResult, ...]:
    """The results of a dry run: each stage is refused as the run would refuse it, and counts what it has to do.

    A stage whose input is still to be made, or made anew, by one before it counts nothing.
    """
    results: list[StageResult] = []
    finished = True
    for stage in stages:
        state = stage.state()
        if finished or state is None:
            results.append(stage.run(context=context))
            finished = finished and not results[-1].num_run
        else:
            stage.check(context)
            results.append(StageResult(stage.name, state.folder, {}))
        finished = finished and (state is None or _is_finished(stage, state))
    return tuple(results)


def _is_finished(stage: Stage, state: StageState) -> bool:
    """Whether the results are there, and are those that the stage would make."""
    return state.summary() is not None and not (stage.replaceable and state.holds_others(stage.identity()))
