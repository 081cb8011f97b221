"""Batches of packed markers are damaged, cut off, zeroed or taken away: verify says so, and the same command goes on."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.faults.job import Job, differences, tree
from benchmarks.faults.line import Asked, Came
from benchmarks.faults.lines.damage import WAYS, copy_undisturbed
from curator_dask import verify_output
from curator_dask.files.folder import Folder
from curator_dask.files.layout import BATCHES, STATE, UNITS
from curator_dask.runtime.markers import packing
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState

GONE = "gone"
NOTICED = "named by verify"
COUNTED = "each unit recorded once, as before"


def damage_batches(asked: Asked, came: Came) -> None:
    """The job is small, so its markers are packed at once, as those of a large one are."""
    for _ in range(asked.rounds):
        for way in (*WAYS, GONE):
            damage_one(asked.job, came, way, asked.chance)


def damage_one(job: Job, came: Came, way: str, chance: random.Random) -> None:
    copy_undisturbed(job)
    before = {stage: list(state.records()) for stage, state in states(job.out).items()}
    pack_all(job.out)
    came.expect(records(job.out) == before, "packed without a loss", "packed markers say something else")
    hit = chance.choice(sorted((job.out / STATE).glob(f"*/{BATCHES}/*.jsonl")))
    _hurt(hit, way, chance)
    came.done[f"batches: {way}"] += 1
    findings = verify_output(str(job.out), repair=True).findings
    came.expect(bool(findings), NOTICED, f"{hit.relative_to(job.out)}, {way}: verify found nothing")
    _goes_on(job, came, before)


def states(out: Path) -> dict[str, StageState]:
    """Stage → its state, of the stages that have units. An output may hold those of others below."""
    found = sorted({path.parent.name for path in (out / STATE).glob(f"*/{UNITS}")})
    return {stage: StageState(Folder(str(out)), stage) for stage in found}


def records(out: Path) -> dict[str, list[UnitRecord]]:
    return {stage: list(state.records()) for stage, state in states(out).items()}


def pack_all(out: Path) -> None:
    """Pack the markers of all stages, however few there are."""
    few, packing.MOST_LOOSE = packing.MOST_LOOSE, 1
    try:
        for state in states(out).values():
            state.pack()
    finally:
        packing.MOST_LOOSE = few


def _hurt(path: Path, way: str, chance: random.Random) -> None:
    whole = path.read_bytes()
    if way == GONE:
        path.unlink()
        return
    while path.read_bytes() == whole:
        path.write_bytes(WAYS[way](bytearray(whole), chance))


def _goes_on(job: Job, came: Came, before: dict[str, list[UnitRecord]]) -> None:
    """The same command ends well, with the same files and the same records; only where these lie may differ."""
    run = job.start()
    if run.wait() != 0:
        came.faults.append(f"the run that should go on ended with {run.wait()}: {run.last_words()}")
        return
    differs = differences(_results(job.expected), _results(tree(job.out)))
    came.expect(not differs, "the same bytes as undisturbed", "; ".join(differs))
    came.expect(records(job.out) == before, COUNTED, "the records are others than before")
    left = [str(finding) for finding in verify_output(str(job.out)).findings]
    came.expect(not left, "outputs without a fault afterwards", f"verify afterwards: {left[:3]}")


def _results(files: dict[str, str]) -> dict[str, str]:
    """The files apart from markers."""
    return {path: known for path, known in files.items() if not {UNITS, BATCHES} & set(path.split("/")[:-1])}
