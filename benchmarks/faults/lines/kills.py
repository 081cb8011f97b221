"""The run, its worker, or the scheduler is killed at a random time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.faults.dask_processes import Dask
from benchmarks.faults.job import OWN_WORKER, Job, Started
from benchmarks.faults.line import Asked, Came

KILLS_PER_ROUND = 3
SAME = "the same bytes as undisturbed"
NO_ORPHANS = "no process left"
CLUSTER_LOST = 7
"""The exit status where the cluster is gone."""


def kill_runs(asked: Asked, came: Came) -> None:
    """Every third round has a worker of its own; the others use one that outlives the run."""
    for number in range(asked.rounds):
        own = number % 3 == 0
        kill_run(asked, came, OWN_WORKER if own else asked.job.cluster, own=own)


def kill_run(asked: Asked, came: Came, cluster: Sequence[str], *, own: bool, kills: int = KILLS_PER_ROUND) -> None:
    """Kill the run so often, then let it go on. `own`: its workers are its children, and must end with it."""
    job = asked.job
    job.clear()
    for moment in sorted(_moment(asked) for _ in range(kills)):
        run = job.start(cluster=cluster)
        if run.wait_for_files(job.out, moment):
            run.kill()
            came.done["runs killed"] += 1
        else:
            came.expect(run.wait() == 0, "runs that ended before", f"status {run.wait()}: {run.last_words()}")
    if own:
        left = job.orphans()
        came.expect(not left, NO_ORPHANS, f"processes left: {left[:2]}")
    goes_on(job, came, job.start(cluster=cluster))


def _moment(asked: Asked) -> int:
    """A random moment, as the number of files and folders that the output has then: so it does not depend on the speed."""
    return asked.chance.randrange(len(list(asked.job.undisturbed.rglob("*"))))


def goes_on(job: Job, came: Came, run: Started) -> None:
    """The run must end well, with the bytes of an undisturbed one."""
    status = run.wait()
    if status != 0:
        came.faults.append(f"the run that should go on ended with {status}: {run.last_words()}")
        return
    same_bytes(job, came)


def same_bytes(job: Job, came: Came) -> None:
    differs = job.differs()
    came.expect(not differs, SAME, "; ".join(differs))


def kill_workers(asked: Asked, came: Came) -> None:
    """The run goes on by itself."""
    job = asked.job
    for _ in range(asked.rounds):
        job.clear()
        run = job.start(cluster=OWN_WORKER)
        while run.runs() and not run.workers():
            time.sleep(0.05)
        run.wait_for_files(job.out, _moment(asked))
        victims = run.workers()
        for victim in victims[:1]:
            victim.kill()
            came.done["workers killed"] += 1
        if not victims:
            came.done["runs that ended before"] += 1
        goes_on(job, came, run)


def kill_schedulers(asked: Asked, came: Came) -> None:
    """The run ends with an error; the next one, with a new scheduler, goes on."""
    job = asked.job
    for number in range(asked.rounds):
        job.clear()
        with Dask(asked.folder / str(number)) as dask:
            run = job.start(cluster=dask.options)
            if run.wait_for_files(job.out, _moment(asked)):
                dask.kill_scheduler()
                came.done["schedulers killed"] += 1
                _ends_with_an_error(run, came)
            else:
                came.done["runs that ended before"] += 1
        goes_on(job, came, job.start())


def _ends_with_an_error(run: Started, came: Came) -> None:
    began = time.monotonic()
    status, words = run.wait(), run.words()
    if status == 0:
        came.done["runs whose work was done already"] += 1
        return
    clear = status == CLUSTER_LOST and "curator-dask: " in words and "Traceback" not in words
    came.expect(clear, "clear errors", f"status {status}: {run.last_words()}")
    took_s = time.monotonic() - began
    came.notes.append(f"the error came {took_s:.0f} s after the kill")
