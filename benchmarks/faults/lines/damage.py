"""Bytes of a finished output are changed, cut off or zeroed, in files of every kind."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

from benchmarks.faults.job import Job
from benchmarks.faults.line import Asked, Came
from benchmarks.faults.lines.kills import goes_on
from curator_dask import verify_output
from curator_dask.errors import CuratorError

VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|(?<=/)scene_[a-z0-9_.]+?(?=(_\d+)?\.json$)|\d+")


def flip(data: bytearray, chance: random.Random) -> bytearray:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def zero(data: bytearray, chance: random.Random) -> bytearray:
    """Up to 4 KiB, as a block of a disk that was never written."""
    start = chance.randrange(len(data))
    length = min(4096, len(data) - start)
    return data[:start] + bytearray(length) + data[start + length :]


WAYS = {"a bit flipped": flip, "cut off": cut, "a block zeroed": zero}


def kinds(out: Path) -> dict[str, list[Path]]:
    """Kind of file → all of that kind. A kind is a path without ids and numbers; an empty file has nothing to damage."""
    found: dict[str, list[Path]] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.stat().st_size:
            found.setdefault(VARYING.sub("*", path.relative_to(out).as_posix()), []).append(path)
    return found


def damage_files(asked: Asked, came: Came) -> None:
    """Each file by itself must be named by verify; then one of each kind at once is damaged, repaired and made again."""
    job = asked.job
    copy_undisturbed(job)
    came.notes.append(f"{len(kinds(job.out))} kinds of files")
    for _ in range(asked.rounds):
        for files in kinds(job.out).values():
            for way in WAYS:
                named(job, came, asked.chance.choice(files), way, asked.chance)
        repaired(job, came, asked.chance)


def copy_undisturbed(job: Job) -> None:
    job.clear()
    shutil.copytree(job.undisturbed, job.out)


def named(job: Job, came: Came, path: Path, way: str, chance: random.Random) -> None:
    whole = path.read_bytes()
    if not _damage(path, way, chance):
        return
    came.done[way] += 1
    name = path.relative_to(job.out).as_posix()
    try:
        found = {finding.path for finding in verify_output(str(job.out)).findings}
    except CuratorError as error:
        found = {name} if name in str(error) else {f"an error that does not name it: {error}"}
    came.expect(name in found, "named by verify", f"{name}, {way}: verify named {sorted(found)[:3] or 'nothing'}")
    path.write_bytes(whole)


def _damage(path: Path, way: str, chance: random.Random) -> bool:
    """Whether the bytes are others now."""
    whole = path.read_bytes()
    damaged = WAYS[way](bytearray(whole), chance)
    path.write_bytes(damaged)
    return damaged != whole


def repaired(job: Job, came: Came, chance: random.Random) -> None:
    """One file of each kind is damaged at the same time; verify marks them, and the same command makes them again."""
    chosen = {chance.choice(files): chance.choice(list(WAYS)) for files in kinds(job.out).values()}
    came.done["files of all kinds damaged at once"] += sum(_damage(path, way, chance) for path, way in chosen.items())
    verify_output(str(job.out), repair=True)
    goes_on(job, came, job.start())
    left = [str(finding) for finding in verify_output(str(job.out)).findings]
    came.expect(not left, "outputs without a fault afterwards", f"verify afterwards: {left[:3]}")
