"""A dry run of several stages, each of which reads what the one before it writes."""

from __future__ import annotations

from collections.abc import Sequence

from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, Stage, StageResult


def plan_stages(stages: Sequence[Stage], context: RunContext) -> tuple[StageResult, ...]:
    """The results of a dry run: each stage is refused as the run would refuse it, and counts what it has to do.

    Where the input is still to be made, or made anew, by a stage before, the number of clips is the most that it can get.
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
            results.append(StageResult(stage.name, state.folder, _most_clips(results), waits=True))
        finished = finished and (state is None or _is_finished(stage, state))
    return tuple(results)


def _most_clips(results: Sequence[StageResult]) -> dict[str, int]:
    """``clips_at_most`` after these stages, from the first that could count."""
    known = [
        result.counts[name] for result in results for name in ("clips_planned", "clips_in") if name in result.counts
    ]
    return {"clips_at_most": known[0]} if known else {}


def _is_finished(stage: Stage, state: StageState) -> bool:
    """Whether the results are there, and are those that the stage would make."""
    return state.summary() is not None and not (stage.replaceable and state.holds_others(stage.identity()))
