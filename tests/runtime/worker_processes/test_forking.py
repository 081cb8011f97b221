"""Local workers are forked from a server that has imported Dask: what they have from it, and what remains if one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import dask
import psutil
import pytest
from dask.system import CPU_COUNT

from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units

cloudpickle.register_pickle_by_value(sys.modules[__name__])

SCRIPT = """
import os, time
from curator_dask import ClusterSettings, LazyCluster
with LazyCluster(ClusterSettings(device='cpu', n_workers=2, dashboard=False)) as lazy:
    pids = lazy.client.run(lambda: (os.getpid(), os.getppid())).values()
    print(*{pid for pair in pids for pid in pair}, flush=True)
"""


def started(n_workers: int = 1) -> LazyCluster:
    return LazyCluster(ClusterSettings(device="cpu", n_workers=n_workers, dashboard=False))


def parents(lazy: LazyCluster) -> set[int]:
    return set(lazy.client.run(os.getppid).values())


def threads_for_arithmetic(lazy: LazyCluster) -> set[str | None]:
    return set(lazy.client.run(os.getenv, "OMP_NUM_THREADS").values())


def wait_until_gone(pids: list[int]) -> list[int]:
    """Those of the processes that are still there after some time."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (left := [pid for pid in pids if runs(pid)]):
        time.sleep(0.05)
    return left


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class TestWorkers:
    def test_come_from_one_process_without_threads_that_ends_with_them(self):
        with started(CPU_COUNT) as lazy:
            (server,) = parents(lazy)
            process = psutil.Process(server)
            assert process.ppid() == os.getpid()
            assert process.num_threads() == 1
        assert not process.is_running()

    def test_have_variables_that_are_read_when_a_process_starts(self):
        with started() as lazy:
            (server,) = parents(lazy)
            from_its_start = psutil.Process(server).environ()
        assert from_its_start["MALLOC_TRIM_THRESHOLD_"] == str(64 << 20)
        assert from_its_start["MALLOC_MMAP_THRESHOLD_"] == str(16 << 20)
        assert from_its_start["ARROW_DEFAULT_MEMORY_POOL"] == "system"
        assert from_its_start["PYTHONHASHSEED"] == "6640"

    def test_of_two_clusters_have_the_threads_of_their_own(self):
        with started(1) as one, started(CPU_COUNT) as all_cores:
            servers = parents(one) | parents(all_cores)
            assert threads_for_arithmetic(one) == {str(CPU_COUNT)}
            assert threads_for_arithmetic(all_cores) == {"1"}
        assert len(servers) == 2
        assert os.getpid() not in servers

    def test_with_other_variables_are_processes_of_their_own(self):
        other = {"distributed.nanny.pre-spawn-environ": {"LD_BIND_NOW": "1"}}
        with dask.config.set(other), started() as lazy:
            (pid,) = lazy.client.run(os.getpid).values()
            assert parents(lazy) == {os.getpid()}
            assert psutil.Process(pid).environ()["LD_BIND_NOW"] == "1"

    def test_keep_what_the_user_has_chosen(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        with started() as lazy:
            assert threads_for_arithmetic(lazy) == {"3"}
            assert os.getpid() not in parents(lazy)
        assert os.environ["OMP_NUM_THREADS"] == "3"

    def test_end_as_programs_do(self, tmp_path):
        """What a model registered for the end of its process is done: it removes a folder."""

        def register() -> None:
            import atexit

            atexit.register((tmp_path / "done").touch)

        with started() as lazy:
            lazy.client.run(register)
        assert (tmp_path / "done").exists()

    def test_import_what_the_script_would_and_not_what_lies_in_the_current_folder(self, tmp_path):
        (tmp_path / "yaml.py").write_text("raise RuntimeError('a file of the user')")
        script = tmp_path / "scripts" / "script.py"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.split()) == 3  # two workers of one server


class TestKilled:
    def test_a_server_costs_nothing(self, tmp_path):
        """The next workers are spawned, or come from the server of another cluster of the program, and do what was left."""
        state = StageState(Folder(str(tmp_path)), "work")

        def work(key: str) -> UnitResult:
            time.sleep(0.1)
            return UnitResult({}, {"made": 1})

        class Murderous(SilentReporter):
            def advance(self, count: int = 1) -> None:
                if count and runs(server):
                    os.kill(server, signal.SIGKILL)

        with started(2) as lazy:
            (server,) = parents(lazy)
            before = list(lazy.client.run(os.getpid).values())
            units = [Unit(str(number), "v1", str(number)) for number in range(20)]
            outcome = run_units(lazy, state, units, work, reporter=Murderous(), what="things")
            assert outcome.counts == {"made": 20}
            lazy.client.wait_for_workers(2, timeout=60)
            assert server not in parents(lazy)
            assert wait_until_gone(before) == []

    def test_a_worker_is_forked_again(self):
        with started() as lazy:
            (pid,), server = lazy.client.run(os.getpid).values(), parents(lazy)
            os.kill(pid, signal.SIGKILL)
            assert wait_until_gone([pid]) == []
            assert lazy.client.submit(os.getpid).result() != pid
            assert parents(lazy) == server

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_a_program_leaves_no_process(self, tmp_path: Path, how):
        script = tmp_path / "script.py"
        waits_for = "time.sleep(600)" if how == signal.SIGINT else "lazy.client.submit(time.sleep, 600).result()"
        script.write_text(SCRIPT + f"    {waits_for}\n")
        with subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as program:
            pids = [int(pid) for pid in program.stdout.readline().split()]
            assert len(pids) == 3
            if how == signal.SIGINT:  # as Ctrl-C does
                os.killpg(program.pid, how)
            else:
                program.send_signal(how)
            assert program.wait(20) != 0
        assert wait_until_gone(pids) == []
