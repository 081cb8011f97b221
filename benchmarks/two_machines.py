"""Two machines that are none: two network namespaces with a cable between them, each with its own view of the disk.

Run as root on Linux: ``python -m benchmarks.two_machines``. A scheduler and a worker live on machine one, a worker on machine
two, the run on machine one. Each line disturbs that in one way and says what happened. The output must have the bytes of a
run on one machine, or the run must end with a sentence that names the cause.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.job import OPTIONS, differences, tree
from curator_dask.video.samples import render_samples

ONE, TWO = "curator-one", "curator-two"
ADDRESSES = {ONE: "10.77.0.1", TWO: "10.77.0.2"}
PORT = 8786
WAIT_S = 600.0
WORKER = ("worker", f"tcp://{ADDRESSES[ONE]}:{PORT}", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60")
SOURCE = Path(__file__).parents[1]


@dataclass
class Machines:
    """The two machines, and the processes on them. `folder` is the disk that they share unless something is mounted over it."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(
        self, machine: str, *command: str, first: str = "true", source: Path = SOURCE, log: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start a command of Python's ``-m`` on a machine. `first` is a shell command that changes its view of the disk."""
        told = ["sh", "-c", f'hostname {machine}; {first} && exec "$@"', "sh", sys.executable, "-m", *command]
        path = self.folder / "logs" / f"{len(self.processes):03}-{log or command[1]}.txt"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as words:
            process = subprocess.Popen(
                ["ip", "netns", "exec", machine, "unshare", "--uts", *told], stdout=words, stderr=words,
                cwd=self.folder, start_new_session=True, env={**os.environ, "PYTHONPATH": str(source)},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_worker(self, machine: str, **how: str | Path) -> subprocess.Popen[bytes]:
        """A worker that keeps its scratch files to its machine."""
        scratch = tempfile.mkdtemp(prefix=f"{machine}-")
        options = ("--host", ADDRESSES[machine], "--local-directory", scratch, "--name", machine)
        return self.start(machine, "dask", *WORKER, *options, log=f"worker-{machine}", **how)  # type: ignore[arg-type]

    def start_scheduler(self) -> None:
        self.start(ONE, "dask", "scheduler", "--host", ADDRESSES[ONE], "--port", str(PORT), "--no-dashboard")

    def start_run(self) -> Run:
        where = ("--scheduler-address", f"tcp://{ADDRESSES[ONE]}:{PORT}")
        command = (
            "curator_dask", "run", "--video-dir", str(self.videos), "--output-path", str(self.out), *OPTIONS, *where,
        )  # fmt: skip
        shutil.rmtree(self.out, ignore_errors=True)
        process = self.start(ONE, *command, log="run")
        return Run(process, max((self.folder / "logs").iterdir()), time.monotonic())

    def stop(self) -> None:
        """Kill all that still runs."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Run:
    """One run of the whole job."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float
    status: int | None = None
    seconds: float = 0.0

    def wait(self) -> Run:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.status = self.process.wait(WAIT_S)
        self.seconds = time.monotonic() - self.began
        return self

    def words(self) -> str:
        """The last line that it wrote."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return next((line for line in reversed(lines) if line.startswith("curator-dask:")), "".join(lines[-1:]))


@contextlib.contextmanager
def cable() -> Iterator[None]:
    """Two network namespaces with a cable between them. Raises CalledProcessError where the system allows none."""
    _ip("netns", "add", ONE)
    try:
        _ip("netns", "add", TWO)
        _ip("-n", ONE, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", TWO)
        for machine, address in ADDRESSES.items():
            _ip("-n", machine, "addr", "add", f"{address}/24", "dev", "wire")
            _ip("-n", machine, "link", "set", "wire", "up")
            _ip("-n", machine, "link", "set", "lo", "up")
        yield
    finally:
        for machine in ADDRESSES:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", machine)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def undisturbed(machines: Machines) -> Run:
    """Nothing happens."""
    machines.start_worker(TWO)
    return machines.start_run().wait()


def other_output(machines: Machines) -> Run:
    """Machine two has a disk of its own where the output lies on machine one."""
    machines.start_worker(TWO, first=f"mount -t tmpfs none {machines.folder}")
    return machines.start_run().wait()


def other_input(machines: Machines) -> Run:
    """Machine two does not see the videos."""
    machines.start_worker(TWO, first=f"mount -t tmpfs none {machines.videos}")
    return machines.start_run().wait()


def slow_worker(machines: Machines) -> Run:
    """The worker on machine two stands still for nine tenths of the time."""
    worker = machines.start_worker(TWO)
    run = machines.start_run()
    ended = threading.Event()
    thread = threading.Thread(target=_slow_down, args=(worker, ended))
    thread.start()
    try:
        return run.wait()
    finally:
        ended.set()
        thread.join()


def _slow_down(worker: subprocess.Popen[bytes], ended: threading.Event) -> None:
    while not ended.is_set():
        for number, seconds in ((signal.SIGSTOP, 0.9), (signal.SIGCONT, 0.1)):
            os.killpg(worker.pid, number)
            ended.wait(seconds)
    os.killpg(worker.pid, signal.SIGCONT)


def other_version(machines: Machines) -> Run:
    """Machine two has another version of the package when the run begins."""
    machines.start_worker(TWO, source=_other_version(machines.folder))
    return machines.start_run().wait()


def other_version_later(machines: Machines) -> Run:
    """A worker with another version comes while the run works."""
    run = machines.start_run()
    _wait_for_markers(machines, run)
    machines.start_worker(TWO, source=_other_version(machines.folder))
    return run.wait()


def no_package_later(machines: Machines) -> Run:
    """A worker without the package comes while the run works; Dask closes it."""
    run = machines.start_run()
    _wait_for_markers(machines, run)
    machines.start_worker(TWO, source=_no_package(machines.folder))
    return run.wait()


def cable_cut(machines: Machines) -> Run:
    """The cable is cut while both work, for the rest of the run."""
    machines.start_worker(TWO)
    run = machines.start_run()
    _wait_for_markers(machines, run)
    _ip("-n", TWO, "link", "set", "wire", "down")
    return run.wait()


def worker_changes(machines: Machines) -> Run:
    """The worker of machine two is killed while it works, and another one comes."""
    worker = machines.start_worker(TWO)
    run = machines.start_run()
    _wait_for_markers(machines, run)
    os.killpg(worker.pid, signal.SIGKILL)
    machines.start_worker(TWO)
    return run.wait()


def _wait_for_markers(machines: Machines, run: Run) -> None:
    while run.process.poll() is None and not list(machines.out.glob(".curator/split/units/*.json")):
        time.sleep(0.05)


def _other_version(folder: Path) -> Path:
    """A copy of the package that says that it is another version."""
    copy = folder / "other-version"
    shutil.copytree(SOURCE / "curator_dask", copy / "curator_dask", dirs_exist_ok=True)
    (copy / "curator_dask" / "_version.py").write_text('__version__ = "0.0.7"\n')
    return copy


def _no_package(folder: Path) -> Path:
    """A folder that hides the package, wherever it is installed."""
    hidden = folder / "no-package"
    hidden.mkdir(exist_ok=True)
    (hidden / "curator_dask.py").write_text(
        """raise ModuleNotFoundError("No module named 'curator_dask'", name="curator_dask")\n"""
    )
    return hidden


@dataclass(frozen=True)
class Line:
    """One disturbance, and what must come of it."""

    disturb: Callable[[Machines], Run]
    must_say: str = ""
    """Words of the sentence that ends the run; "" where the run must come to its end with the right bytes."""


LINES = {
    "undisturbed": Line(undisturbed),
    "other-output": Line(other_output, "does not see the output folder"),
    "other-input": Line(other_input, "open: run again"),
    "slow-worker": Line(slow_worker),
    "other-version": Line(other_version, "0.0.7"),
    "other-version-later": Line(other_version_later, "0.0.7"),
    "no-package-later": Line(no_package_later),
    "cable-cut": Line(cable_cut),
    "worker-changes": Line(worker_changes),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", nargs="*", default=list(LINES), help=f"of {', '.join(LINES)}")
    parser.add_argument("--scenes", type=int, default=4)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="two-machines-") as temporary:
        folder = Path(temporary)
        render_samples(folder / "videos", num_scenes=chosen.scenes, length_s=4.0, size=(160, 88))
        expected = _on_one_machine(folder)
        print("| line | what happens | seconds | exit status | outcome |\n|---|---|---|---|---|", flush=True)
        for name in chosen.lines:
            print(_row(name, folder, expected), flush=True)


def _on_one_machine(folder: Path) -> dict[str, str]:
    command = ("run", "--video-dir", str(folder / "videos"), "--output-path", str(folder / "out"), *OPTIONS)
    subprocess.run(
        [sys.executable, "-m", "curator_dask", *command, "--n-workers", "1"], check=True, capture_output=True
    )
    return tree(folder / "out")


def _row(name: str, folder: Path, expected: dict[str, str]) -> str:
    line = LINES[name]
    shutil.rmtree(folder / "logs", ignore_errors=True)
    machines = Machines(folder)
    with cable():
        try:
            machines.start_scheduler()
            machines.start_worker(ONE)
            run = line.disturb(machines)
        finally:
            machines.stop()
    outcome = _outcome(line, run, differences(expected, tree(machines.out)))
    return f"| {name} | {line.disturb.__doc__} | {run.seconds:.1f} | {run.status} | {outcome} |"


def _outcome(line: Line, run: Run, changed: list[str]) -> str:
    if line.must_say:
        right = run.status not in (0, None) and line.must_say in run.log.read_text(errors="replace")
        return f"{'right' if right else 'FAULT'}: {run.words()}"
    return "right: the same bytes" if run.status == 0 and not changed else f"FAULT: {run.words()} {changed}"


if __name__ == "__main__":
    main()
