"""The output lies in an S3 store that answers late, wrongly or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.job import OPTIONS, Job, Started, differences
from benchmarks.faults.line import Asked, Came, NotPossibleError

RATE = 0.05
"""The share of requests that meet a fault."""
BUCKET = "faults"
START_TIMEOUT_S = 120.0
MOST_RUNS = 4
"""A run may end with open failures or a clear error, but the store becomes well again, and this many runs must do."""
KEYS = {"key": "testing", "secret": "testing"}


@dataclass
class Store:
    """A store on this machine whose faults can be switched on and off."""

    folder: Path
    url: str

    def set_rate(self, rate: float) -> None:
        (self.folder / "rate").write_text(str(rate))

    def faults(self) -> Counter[str]:
        """What was done to requests so far."""
        log = self.folder / "faults"
        return Counter(log.read_text().splitlines()) if log.exists() else Counter()

    def files(self) -> Any:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        return s3fs.S3FileSystem(**KEYS, client_kwargs={"endpoint_url": self.url})

    def tree(self) -> dict[str, str]:
        fs = self.files()
        return {
            path.removeprefix(f"{BUCKET}/out/"): hashlib.sha256(fs.cat_file(path)).hexdigest()
            for path in fs.find(f"{BUCKET}/out")
        }

    def clear(self) -> None:
        fs = self.files()
        if fs.exists(f"{BUCKET}/out"):
            fs.rm(f"{BUCKET}/out", recursive=True)

    def start_run(self, job: Job) -> Started:
        settings = (f"endpoint_url={self.url}", *(f"{name}={value}" for name, value in KEYS.items()))
        options = [word for setting in settings for word in ("--storage-option", setting)]
        where = ("--output-path", f"s3://{BUCKET}/out", *options)
        return job.command("run", "--video-dir", str(job.videos), *where, *OPTIONS, "--no-report", *job.cluster)


def disturb_store(asked: Asked, came: Came) -> None:
    with running_store(asked.folder) as store:
        store.files().mkdir(BUCKET)
        run = store.start_run(asked.job)
        if run.wait() != 0:
            raise RuntimeError(f"an undisturbed run fails: {run.words()}")
        expected = store.tree()
        for _ in range(asked.rounds):
            _disturb(asked, came, store, expected)


def _disturb(asked: Asked, came: Came, store: Store, expected: dict[str, str]) -> None:
    store.clear()
    before = store.faults()
    store.set_rate(RATE)
    run = store.start_run(asked.job)
    status = run.wait()
    store.set_rate(0)
    came.done.update(store.faults() - before)
    came.done[f"runs that ended with {status}"] += 1
    if status != 0:
        clear = status in (1, 3) and "Traceback" not in run.words()
        came.expect(clear, "clear errors", f"status {status}: {run.last_words()}")
        _go_on(asked, came, store)
    differs = differences(expected, store.tree())
    came.expect(not differs, "the same bytes as undisturbed", "; ".join(differs))


def _go_on(asked: Asked, came: Came, store: Store) -> None:
    """The lock of a run that could not remove it expires first."""
    for _ in range(MOST_RUNS):
        run = store.start_run(asked.job)
        if run.wait() == 0:
            return
        came.done[f"later runs that ended with {run.wait()}"] += 1
        time.sleep(30)
    came.faults.append(f"{MOST_RUNS} further runs did not finish: {run.last_words()}")


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[Store]:
    try:
        import moto.server  # noqa: F401
        import s3fs  # noqa: F401
    except ImportError as error:
        raise NotPossibleError(f"it needs the extra dev: {error}") from error
    with (folder / "store.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.faults.flaky_store", str(folder)],
            stdout=log, stderr=log, cwd=Path(__file__).resolve().parents[3], start_new_session=True,
        )  # fmt: skip
    try:
        ends = time.monotonic() + START_TIMEOUT_S
        while not (folder / "url").exists() and time.monotonic() < ends:
            time.sleep(0.1)
        yield Store(folder, json.loads((folder / "url").read_text()))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
