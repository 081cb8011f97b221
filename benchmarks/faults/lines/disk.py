"""The disk of the output becomes full, by bytes and by the number of files."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.job import Started
from benchmarks.faults.line import Asked, Came, NotPossibleError
from benchmarks.faults.lines.kills import goes_on

ROOMY = "size=1g,nr_inodes=100000"
WHOLE_STAGE, OPEN = 2, 3
"""The exit status where a table of a stage, or only units of work, found no room."""
LEAST_BYTES, LEAST_FILES = 64 << 10, 8


def fill_disks(asked: Asked, came: Came) -> None:
    """Every round has a disk that is too small in bytes and one that is too small in files; then both get room."""
    whole = list(asked.job.undisturbed.rglob("*"))
    num_bytes = sum(max(4096, path.stat().st_size) for path in whole)
    for _ in range(asked.rounds):
        room = asked.chance.randrange(LEAST_BYTES, num_bytes)
        _fill(asked, came, f"size={room // 1024}k,nr_inodes=100000", "disks full by bytes")
        _fill(
            asked, came, f"size=1g,nr_inodes={asked.chance.randrange(LEAST_FILES, len(whole))}", "disks full by files"
        )


def _fill(asked: Asked, came: Came, options: str, what: str) -> None:
    job = asked.job
    job.clear()
    with small_disk(job.out, options) as resize:
        run = job.start()
        if run.wait() == 0:
            came.done["disks that were large enough"] += 1
        else:
            came.done[what] += 1
            _says_what_is_full(run, came, options)
        resize(ROOMY)
        goes_on(job, came, job.start())


def _says_what_is_full(run: Started, came: Came, options: str) -> None:
    status, words = run.wait(), run.words()
    if status == OPEN:
        came.done["runs that did the rest, status 3"] += 1
    clear = status in (WHOLE_STAGE, OPEN) and "No space left on device" in words and "Traceback" not in words
    came.expect(clear, "clear errors", f"{options}: status {status}: {run.last_words()}")


@contextlib.contextmanager
def small_disk(target: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A tmpfs within the block; yields a function that changes its options. Raises NotPossibleError without the right to."""
    target.mkdir(parents=True)
    _mount(["-t", "tmpfs", "-o", options, "tmpfs"], target)
    try:
        yield lambda changed: _mount(["-o", f"remount,{changed}"], target)
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)
        shutil.rmtree(target, ignore_errors=True)


def _mount(options: list[str], target: Path) -> None:
    if shutil.which("mount") is None:
        raise NotPossibleError("there is no mount program here")
    finished = subprocess.run(["mount", *options, str(target)], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise NotPossibleError(f"a disk of its own takes the right to mount one: {finished.stderr.strip()}")
