"""The run is killed while long videos are cut in parts: finished parts stay as they are, and the rest follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.job import Job
from benchmarks.faults.line import Asked, Came
from benchmarks.faults.lines.kills import goes_on

LENGTH_S = 16.0
PART_MINUTES = "0.07"
KILLS_PER_ROUND = 3
KEPT = "finished parts kept through a kill"


def kill_in_parts(asked: Asked, came: Came) -> None:
    """Each video of 16 s is cut in four parts."""
    job = replace(asked.job, folder=asked.folder / "job", length_s=LENGTH_S, options=("--part-minutes", PART_MINUTES))
    job.prepare()
    came.notes.append(f"an undisturbed run cuts {len(part_markers(job.undisturbed))} parts")
    moments = [index for index, path in enumerate(sorted(job.undisturbed.rglob("*"))) if path.suffix == ".mp4"]
    for _ in range(asked.rounds):
        job.clear()
        for _ in range(KILLS_PER_ROUND):
            kill(job, asked.chance.choice(moments), came)
        job_goes_on(job, came)


def kill(job: Job, moment: int, came: Came) -> None:
    """Kill the run when so many files are there, and see that it has left the parts alone that were finished before."""
    before = part_markers(job.out)
    run = job.start()
    if run.wait_for_files(job.out, moment):
        run.kill()
        came.done["runs killed"] += 1
    run.wait()
    look(job, before, came)


def job_goes_on(job: Job, came: Came) -> None:
    before = part_markers(job.out)
    goes_on(job, came, job.start())
    look(job, before, came)


def look(job: Job, before: dict[str, tuple[int, ...]], came: Came) -> None:
    after = part_markers(job.out)
    for name, times in before.items():
        came.expect(after.get(name) == times, KEPT, f"the finished part {name} was cut again")


def part_markers(out: Path) -> dict[str, tuple[int, ...]]:
    """The markers of parts, with the times at which they and their clips were written."""
    found = {}
    for path in out.glob(".curator/split/units/*.json"):
        record = json.loads(path.read_bytes())
        if "part_of" in record["data"] and "clips" in record["data"]:
            files = [path, *(out / name for name in sorted(record["outputs"]))]
            found[path.name] = tuple(file.stat().st_mtime_ns for file in files)
    return found
