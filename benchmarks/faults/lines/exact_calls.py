"""A process ends at one exact call that gives a file its name: any process of a run, or the one that people start."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.faults import crash_hook
from benchmarks.faults.dask_processes import Dask
from benchmarks.faults.job import Job
from benchmarks.faults.line import Asked, Came
from benchmarks.faults.lines.kills import same_bytes


def crash_at_calls(asked: Asked, came: Came) -> None:
    """Calls of one undisturbed run are counted first; then each round ends one process at one of them."""
    job, hooks = asked.job, _hooks(asked.folder)
    plan = asked.folder / "plan.json"
    variables = {crash_hook.PLAN_VARIABLE: str(plan), "PYTHONPATH": os.pathsep.join([str(hooks), *_paths()])}
    with Dask(asked.folder, **variables) as dask:
        job.cluster = dask.options
        num_calls = _planned(job, plan, 0, crash_hook.BEFORE, came, variables)
        came.notes.append(f"an undisturbed run has {num_calls} such calls")
        _spread(asked, came, plan, num_calls, variables)


def crash_runs_at_calls(asked: Asked, came: Came) -> None:
    """As `crash_at_calls`, but only calls of the run itself count. Its workers, of a cluster that lives on, are not told."""
    plan = asked.folder / "plan.json"
    variables = {crash_hook.PLAN_VARIABLE: str(plan)}
    num_calls = _planned(asked.job, plan, 0, crash_hook.BEFORE, came, variables)
    came.notes.append(f"the run itself has {num_calls} such calls, where nothing disturbs it")
    _spread(asked, came, plan, num_calls, variables)


def _spread(asked: Asked, came: Came, plan: Path, num_calls: int, variables: dict[str, str]) -> None:
    """One crash per round, spread over the whole run."""
    for number in range(asked.rounds):
        when = (crash_hook.BEFORE, crash_hook.HALF, crash_hook.AFTER)[number % 3]
        at = 1 + int((number + asked.chance.random()) / asked.rounds * num_calls)
        _planned(asked.job, plan, at, when, came, variables)


def _planned(job: Job, plan: Path, at: int, when: str, came: Came, variables: dict[str, str]) -> int:
    """Run with a plan, then go on if the run itself was killed; returns the number of calls."""
    job.clear()
    calls = plan.with_suffix(".calls")
    plan.write_text(json.dumps({"below": str(job.out), "at": at, "when": when}))
    calls.write_bytes(b"")
    run = job.start(**variables)
    status = run.wait()
    if at and calls.stat().st_size >= at:
        came.done[f"{'runs' if status == -9 else 'workers'} killed"] += 1
        came.done[f"{when} the call" if when != crash_hook.HALF else "with half of the file"] += 1
    if status == -9:
        run = job.start(**variables)
        status = run.wait()
    if status != 0:
        came.faults.append(f"call {at}, {when}: the run that should go on ended with {status}: {run.last_words()}")
    same_bytes(job, came)
    return calls.stat().st_size


def _hooks(folder: Path) -> Path:
    """A folder whose ``sitecustomize`` puts the hook into every Python process that looks there."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text("from benchmarks.faults.crash_hook import install\ninstall()\n")
    return hooks


def _paths() -> list[str]:
    root = str(Path(__file__).resolve().parents[3])
    return [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
