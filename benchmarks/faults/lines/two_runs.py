"""Two runs of the same command on the same output."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.faults.job import OWN_WORKER, Started
from benchmarks.faults.line import Asked, Came
from benchmarks.faults.lines.kills import same_bytes

APART_S = (0.0, 6.0, 12.0)
REFUSED = 4


def start_two_runs(asked: Asked, came: Came) -> None:
    for _ in range(asked.rounds):
        for apart_s in APART_S:
            two_runs(asked, came, apart_s)


def two_runs(asked: Asked, came: Came, apart_s: float, cluster: Sequence[str] = OWN_WORKER) -> None:
    job = asked.job
    job.clear()
    first = job.start(cluster=cluster)
    time.sleep(apart_s)
    still_runs = first.runs()
    second = job.start(cluster=cluster)
    came.done[f"pairs of runs {apart_s:g} s apart"] += 1
    _judge(came, first, second, still_runs)
    same_bytes(job, came)


def _judge(came: Came, first: Started, second: Started, still_ran: bool) -> None:
    """One works and the other is refused; or the first had ended before the second began, and both are well."""
    statuses = sorted((str(first.wait()), str(second.wait())))
    if statuses == ["0", "0"] and not still_ran:
        came.done["second runs after the first had ended"] += 1
        return
    right = came.expect(
        statuses == ["0", str(REFUSED)],
        "one worked, one was refused",
        f"statuses {' and '.join(statuses)}: {first.last_words()} | {second.last_words()}",
    )
    if right:
        refused = first if first.wait() == REFUSED else second
        came.expect("is in use: process" in refused.words(), "the holder was named", refused.last_words())
