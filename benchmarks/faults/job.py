"""The small job that the campaign disturbs: its videos, its command, and what an undisturbed run makes of them.

A command starts as a child of a server that has imported the package already (`multiprocessing`'s fork server), which
saves some seconds each. It is a process of its own: it is killed, waited for and read like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import dask
import psutil

from curator_dask.video.samples import render_samples

SIZE = (160, 88)
OPTIONS = (
    "--fixed-stride-split-duration", "2", "--rule", "overlap", "--cross-cluster", "--n-clusters", "2", "--quiet",
)  # fmt: skip
OWN_WORKER = ("--n-workers", "1")
MARK = "CURATOR_DASK_FAULTS"
"""The environment variable by which children of a run are known."""
WAIT_S = 900.0
"""No run of the campaign takes this long; one that does is a fault."""
ORPHANS_END_S = 60.0
"""Workers that lost their run notice it within this time, also on a machine with much else to do."""
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["benchmarks.faults.hooked", "benchmarks.faults.preloaded"])


def tree(folder: Path) -> dict[str, str]:
    """Relative path → digest of every file below, hidden ones too."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The files that are missing, extra or different, in words; some of each."""
    told = {
        "missing": sorted(expected.keys() - found.keys()),
        "extra": sorted(found.keys() - expected.keys()),
        "other bytes": sorted(path for path in expected.keys() & found.keys() if expected[path] != found[path]),
    }
    return [f"{len(paths)} {what}: {', '.join(paths[:3])}" for what, paths in told.items() if paths]


@dataclass
class Started:
    """A command that runs, or has run."""

    process: BaseProcess
    log: Path

    def runs(self) -> bool:
        return self.process.is_alive()

    def wait(self, timeout_s: float = WAIT_S) -> int | None:
        """The exit status, negative for a signal; None if the command had to be killed as it did not end in time."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.kill()
            return None
        return self.process.exitcode

    def wait_for_files(self, folder: Path, number: int) -> bool:
        """Wait until so many files are in the folder; whether the command still runs then."""
        while self.process.is_alive() and sum(1 for _ in folder.rglob("*")) < number:
            self.process.join(0.02)
        return self.process.is_alive()

    def kill(self) -> None:
        """Kill the process itself, as ``kill -9`` does; its children must end on their own."""
        self.process.kill()
        self.process.join()

    def words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def last_words(self) -> str:
        return " ".join(self.words().split())[-300:]

    def workers(self) -> list[psutil.Process]:
        """The worker processes of its own cluster."""
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.process.pid).children(recursive=True)
            spawned = [child for child in started if "spawn_main" in " ".join(child.cmdline())]
            servers = {child.ppid() for child in spawned}  # workers are forked from one
            return [child for child in spawned if child.pid not in servers]
        return []


@dataclass
class Job:
    """Two short scenes and two twins in 160x88, and the command that makes a training set of them."""

    folder: Path
    cluster: Sequence[str] = OWN_WORKER
    """Where it runs if nothing else is said, as options."""
    environment: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    """`tree` of the undisturbed output."""
    seconds: float = 0.0
    """How long the undisturbed run took."""
    length_s: float = 4.0
    """How long its videos are."""
    options: Sequence[str] = ()
    """Further options of its command."""
    _started: list[Started] = field(default_factory=list)

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    @property
    def out(self) -> Path:
        """All runs write here, as records name the output."""
        return self.folder / "out"

    @property
    def undisturbed(self) -> Path:
        return self.folder / "undisturbed"

    def prepare(self, *more: str) -> None:
        """Render the videos, and run once without any fault. Raises RuntimeError if even that does not work."""
        self.folder.mkdir(exist_ok=True)
        render_samples(self.videos, num_scenes=2, length_s=self.length_s, size=SIZE)
        began = time.monotonic()
        run = self.start(*more)
        if run.wait() != 0:
            raise RuntimeError(f"an undisturbed run fails: {run.words()}")
        self.seconds = time.monotonic() - began
        self.expected = tree(self.out)
        shutil.rmtree(self.undisturbed, ignore_errors=True)
        self.out.rename(self.undisturbed)

    def start(self, *more: str, cluster: Sequence[str] | None = None, **environment: str) -> Started:
        where = self.cluster if cluster is None else cluster
        return self.command(
            "run",
            "--video-dir",
            str(self.videos),
            "--output-path",
            str(self.out),
            *OPTIONS,
            *self.options,
            *where,
            *more,
            **environment,
        )

    def command(self, *arguments: str, **environment: str) -> Started:
        log = self.folder / "logs" / f"{len(self._started):04}.txt"
        log.parent.mkdir(exist_ok=True)
        process = _SERVER.Process(
            target=_run, args=(arguments, log, {**self.environment, MARK: str(self.folder), **environment})
        )
        process.start()
        self._started.append(Started(process, log))
        return self._started[-1]

    def stop(self) -> None:
        """Kill what still runs."""
        for run in self._started:
            if run.runs():
                run.kill()

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def differs(self) -> list[str]:
        """How the output differs from the undisturbed one; empty: it does not."""
        return differences(self.expected, tree(self.out))

    def orphans(self) -> list[str]:
        """Processes of runs that are dead, after the time in which they must have ended."""
        ends = time.monotonic() + ORPHANS_END_S
        while (left := list(self._processes())) and time.monotonic() < ends:
            time.sleep(0.5)
        return left

    def _processes(self) -> Iterator[str]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                mine = str(self.folder) in words or process.environ().get(MARK) == str(self.folder)
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    yield f"{process.pid} {words[:200]}"


def _run(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """What the child does: the command line, with its words in a file."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as words:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    os.environ.update(environment)
    dask.config.refresh()  # it read the environment as the server imported it
    sys.argv = ["curator-dask", *arguments]
    from curator_dask.cli import main

    main()
