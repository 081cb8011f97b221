"""Clusters that we start and clusters that run already: how they start, how they are reached, and what remains."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import dask
import psutil
import pytest
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security

from curator_dask.errors import ClusterError, DeviceError, ParameterError
from curator_dask.files.folder import Folder
from curator_dask.pipeline import Pipeline
from curator_dask.runtime import cluster as cluster_module
from curator_dask.runtime import local_cluster
from curator_dask.runtime.agreement import versions
from curator_dask.runtime.cluster import LazyCluster, current_cluster, dask_client
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import DEVICE_VARIABLE, resolve_device
from curator_dask.runtime.local_cluster import gpu_options
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units
from curator_dask.runtime.waiting import ask_workers
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.kmeans.placing.places import find_places

cloudpickle.register_pickle_by_value(sys.modules[__name__])

DASK = [sys.executable, "-m", "dask"]
NOBODY_LISTENS = "tcp://127.0.0.1:9"


def local(**more) -> ClusterSettings:
    return ClusterSettings(device="cpu", **{"n_workers": 1, "dashboard": False, **more})


def keys_of_another_cluster() -> ssl.SSLContext:
    return Security.temporary().get_connection_args("client")["ssl_context"]


def listening(process: psutil.Process) -> set[str]:
    return {one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN}


def helpers(process: psutil.Process) -> set[int]:
    """The resource trackers of Python's multiprocessing, which end with their program."""
    return {child.pid for child in process.children() if "resource_tracker" in " ".join(child.cmdline())}


class TestSettings:
    @pytest.mark.parametrize(
        ("parameters", "told"),
        [
            ({"n_workers": 0}, r"n_workers \(0\)"),
            ({"n_workers": 2.5}, r"n_workers \(2\.5\)"),
            ({"device": "tpu"}, r"device \('tpu'\) must be one of auto, cpu, gpu"),
            ({"scheduler_address": "a", "scheduler_file": "b"}, "not both"),
            ({"scheduler_address": "a", "n_workers": 2}, "has its own workers"),
            ({"scheduler_file": "b", "n_workers": 2}, "has its own workers"),
        ],
    )
    def test_that_cannot_be_meant(self, parameters, told):
        with pytest.raises(ParameterError, match=told):
            ClusterSettings(**parameters)


class TestDevice:
    def test_a_gpu_that_is_not_there_is_an_error_with_the_reason(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES hides every device"):
            resolve_device("gpu")
        with pytest.raises(DeviceError), dask_client(ClusterSettings(device="gpu")):
            pass
        with pytest.raises(DeviceError):
            _ = LazyCluster(ClusterSettings(device="gpu")).device
        assert resolve_device("auto") == "cpu"

    def test_the_environment_speaks_where_the_argument_does_not(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setenv(DEVICE_VARIABLE, "gpu")
        assert resolve_device("cpu") == "cpu"
        with pytest.raises(DeviceError):
            resolve_device("auto")
        monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
        assert resolve_device("auto") == "cpu"
        monkeypatch.setenv(DEVICE_VARIABLE, "tpu")
        with pytest.raises(ParameterError, match=r"CURATOR_DASK_BACKEND \('tpu'\)"):
            resolve_device("auto")

    def test_of_a_cluster_without_starting_it(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        lazy = LazyCluster(ClusterSettings())
        assert lazy.device == "cpu"
        assert lazy._client is None


def kill_the_first_that_starts(*, is_worker: bool) -> list[int]:
    """A worker, or the server that workers are forked from, from another thread; returns a list that then holds its id."""
    me, killed = psutil.Process(), list[int]()
    known = {child.pid for child in me.children(recursive=True)}

    def watch() -> None:
        while not killed:
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    is_new = child.pid not in known and "spawn_main" in " ".join(child.cmdline())
                    if is_new and (child.ppid() != me.pid) == is_worker:
                        child.kill()
                        killed.append(child.pid)
                        return
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    return killed


class TestLocal:
    @pytest.mark.parametrize("is_worker", [True, False])
    def test_a_process_that_is_killed_as_it_starts_costs_nothing(self, is_worker):
        killed = kill_the_first_that_starts(is_worker=is_worker)
        with dask_client(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as client:
            assert client.submit(lambda: 42).result() == 42
        assert len(killed) == 1

    def test_one_worker_has_all_cores_for_arithmetic_and_nothing_is_left_behind(self):
        me = psutil.Process()
        before = {child.pid for child in me.children(recursive=True)}
        levels = {name: logging.getLogger(name).level for name in ("distributed", "distributed.worker", "tornado")}
        names = (
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MALLOC_TRIM_THRESHOLD_",
            "MALLOC_MMAP_THRESHOLD_",
            "ARROW_DEFAULT_MEMORY_POOL",
            "PYTHONHASHSEED",
        )
        variables, told = [os.environ.get(name) for name in names], list[str]()

        def environment() -> dict[str, str]:
            return {name: value for name, value in os.environ.items() if name.endswith(("_NUM_THREADS", "THRESHOLD_"))}

        def arrow_allocator() -> str:
            import pyarrow as pa

            return str(pa.default_memory_pool().backend_name)

        with LazyCluster(local(dashboard=True), on_start=told.append) as lazy:
            (found,) = lazy.client.run(environment).values()
            assert {found[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {str(CPU_COUNT)}
            assert found["MALLOC_TRIM_THRESHOLD_"] == str(64 << 20)  # Dask's own makes temporary arrays slow
            assert found["MALLOC_MMAP_THRESHOLD_"] == str(16 << 20)
            assert set(lazy.client.run(arrow_allocator).values()) == {"system"}
            assert lazy.num_threads == 1
            assert lazy.client is lazy.client
            begins, message = told
            assert begins == "starting workers"
            assert message.startswith("Dask dashboard: http://127.0.0.1:")
            started = [child for child in me.children(recursive=True) if child.pid not in before | helpers(me)]
            assert started
            assert set().union(*map(listening, [me, *started])) == {"127.0.0.1"}
        assert psutil.wait_procs(started, timeout=20)[1] == []
        assert {name: logging.getLogger(name).level for name in levels} == levels
        assert [os.environ.get(name) for name in names] == variables
        assert lazy._client is None

    def test_a_worker_that_never_comes_up_again_does_not_hold_the_end(self, tmp_path, monkeypatch):
        hangs = tmp_path / "hangs"
        preload = tmp_path / "preload.py"
        preload.write_text(f"import os, time\nwhile os.path.exists({str(hangs)!r}): time.sleep(0.1)\n")
        monkeypatch.setattr(local_cluster, "CLOSE_TIMEOUT_S", 3.0)
        with (
            dask.config.set({"distributed.worker.preload": [str(preload)]}),
            LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as lazy,
        ):
            (pid,) = lazy.client.run(os.getpid).values()
            hangs.touch()
            os.kill(pid, signal.SIGKILL)
            nanny = lazy.client.cluster.workers[0]
            while nanny.status.name != "running" or nanny.pid in (None, pid):  # its successor hangs in the preload
                time.sleep(0.05)
            successor = psutil.Process(nanny.pid)
            time.sleep(0.5)
        deadline = time.monotonic() + 10
        while alive := successor.is_running() and successor.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert not alive

    def test_workers_load_what_the_user_has_them_load(self, tmp_path):
        preload = tmp_path / "preload.py"
        preload.write_text(
            "import click, os\n@click.command()\n@click.argument('word')\n"
            "def dask_setup(worker, word):\n    os.environ['WORD'] = word\n"
        )
        config = {"distributed.worker.preload": [str(preload)], "distributed.worker.preload-argv": [["hello"]]}
        with dask.config.set(config), LazyCluster(local()) as lazy:
            assert set(lazy.client.run(os.getenv, "WORD").values()) == {"hello"}

    def test_two_workers_share_the_cores(self, cluster):
        found = cluster.client.run(lambda: os.environ["OMP_NUM_THREADS"]).values()
        assert set(found) == {str(max(1, CPU_COUNT // 2))}
        assert cluster.num_threads == 2
        assert cluster.device == "cpu"

    def test_without_a_dashboard_none_is_announced(self):
        told: list[str] = []
        with LazyCluster(local(), on_start=told.append) as lazy:
            assert lazy.client.status == "running"
        assert told == ["starting workers"]

    @pytest.mark.timeout(60)
    def test_a_script_needs_no_main_guard(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            "from curator_dask import ClusterSettings, LazyCluster\n"
            "print('once')\n"
            "def double(x): return 2 * x\n"
            "with LazyCluster(ClusterSettings(device='cpu', n_workers=1, dashboard=False)) as lazy:\n"
            "    print(lazy.client.submit(double, 21).result())\n"
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "once\n42\n", "")


class TestWorkersForStages:
    """On a machine with GPUs each kind of stage has its own workers; elsewhere all stages share the same workers."""

    def test_without_a_gpu_nothing_changes(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with LazyCluster(local()) as lazy:
            client = lazy.client
            for kind in ("cpu", "torch", "rapids"):
                lazy.serve(kind)
                assert lazy.client is client
                assert lazy.device == "cpu"

    def test_a_caller_s_own_client_stays(self, cluster):
        mine = LazyCluster.of(cluster.client)
        mine.serve("torch")
        assert mine.client is cluster.client
        assert mine.device == "cpu"

    def test_what_cannot_be_meant(self):
        with pytest.raises(ParameterError, match=r"workers \('tpu'\) must be one of cpu, torch, rapids"):
            LazyCluster().serve("tpu")

    def test_torch_has_the_device_to_itself_and_rapids_an_asynchronous_pool(self):
        assert gpu_options("torch") == {}
        options = gpu_options("rapids")
        assert options["rmm_async"] is True
        assert options["rmm_allocator_external_lib_list"] == ["cupy"]
        assert not {"rmm_pool_size", "rmm_managed_memory"} & set(options)


class TestClientsOfOthers:
    def test_are_left_open(self, cluster):
        with LazyCluster.of(cluster.client) as mine:
            assert mine.client is cluster.client
        assert cluster.client.status == "running"

    def test_the_active_one_is_used(self, cluster):
        with cluster.client.as_current(), current_cluster() as mine:
            assert mine.client is cluster.client
        assert cluster.client.status == "running"

    def test_an_adaptive_one_starts_workers_for_work(self, tmp_path):
        state = StageState(Folder(str(tmp_path)), "work")
        with LocalCluster(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as adaptive:
            adaptive.adapt(minimum=0, maximum=1, interval="100ms")
            with Client(adaptive, set_as_default=False) as client:
                lazy = LazyCluster.of(client)
                assert client.nthreads() == {}
                assert lazy.device == "cpu"
                units = [Unit(key, key, key, f"/videos/{key}") for key in "ab"]
                outcome = run_units(
                    lazy,
                    state,
                    units,
                    lambda key: UnitResult(counts={"made": 1}),
                    reporter=SilentReporter(),
                    what="units",
                )
        assert outcome.counts == {"made": 2}

    def test_one_that_gets_no_workers_is_refused_in_the_end(self, monkeypatch):
        monkeypatch.setattr(cluster_module, "NO_WORKERS_S", 0.2)
        with (
            LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
            Client(empty, set_as_default=False) as client,
            pytest.raises(ClusterError, match="has had no workers for 0 s"),
        ):
            _ = LazyCluster.of(client).device

    def test_a_worker_that_leaves_while_it_is_asked_has_no_answer(self, cluster):
        """The answers of the others count; what the function itself raises is raised."""

        def leave() -> str:
            raise ConnectionResetError("the worker is gone")

        def fail() -> str:
            raise DeviceError("no GPU")

        with pytest.raises(ConnectionResetError):  # asked again, as a task, since nobody answered
            ask_workers(cluster.client, leave, timeout_s=60, say=print)
        with pytest.raises(DeviceError, match="no GPU"):
            ask_workers(cluster.client, fail, timeout_s=60, say=print)

    def test_a_closed_one_is_refused(self, cluster):
        running = cluster.client
        client = Client(running.scheduler.address, security=running.security, set_as_default=False)
        client.close()
        with pytest.raises(ClusterError, match="the Dask client is closed"):
            LazyCluster.of(client)

    @pytest.mark.parametrize("make_stranger", [ssl.create_default_context, keys_of_another_cluster])
    def test_nobody_without_its_keys_can_connect(self, cluster, make_stranger):
        address = cluster.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        workers = list(cluster.client.scheduler_info(n_workers=-1)["workers"])
        assert workers
        for one in (address, *workers):
            assert one.startswith("tls://127.0.0.1:")
            stranger = make_stranger()
            stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
            host, _, port = one.removeprefix("tls://").rpartition(":")
            with (
                pytest.raises((ssl.SSLError, ConnectionError)),
                socket.create_connection((host, int(port)), timeout=30) as plain,
                stranger.wrap_socket(plain) as shaken,
            ):
                assert shaken.recv(1), "it ends the connection"  # TLS 1.3 refuses only after the client's own part


class Noting(Stage):
    """Records the cluster that it ran on."""

    name = "noting"
    seen: list[object] = []  # noqa: RUF012

    def identity(self) -> dict[str, object]:
        return {}

    def execute(self, context: RunContext) -> StageResult:
        self.seen.append(context.cluster.client)
        return StageResult(self.name, Folder("out"), {"n": 1})


class TestPipeline:
    def test_runs_its_stages_in_order_on_the_given_client(self, cluster):
        one, two = Noting(), Noting()
        Noting.seen.clear()
        results = Pipeline("p").add_stage(one).add_stage(two).run(cluster.client)
        assert [result.stage for result in results] == ["noting", "noting"]
        assert Noting.seen == [cluster.client] * 2
        assert all(result.seconds >= 0 for result in results)

    def test_what_cannot_be_meant(self, cluster, context):
        with pytest.raises(ParameterError, match="has no stages"):
            Pipeline("p").run()
        with pytest.raises(ParameterError, match="takes a Stage, not str"):
            Pipeline("p").add_stage("kmeans")
        for runner in (Noting(), Pipeline("p", stages=[Noting()])):
            with pytest.raises(ParameterError, match="not both"):
                runner.run(cluster.client, context=context)


class Running:
    """A scheduler and two workers, started with Dask's commands as a user would start them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen] = []

    def start(self, *command: str) -> subprocess.Popen:
        log = (self.folder / f"{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [*DASK, *command], stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def start_scheduler(self) -> None:
        self.start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
            "--scheduler-file", str(self.file),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self.file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.address = json.loads(self.file.read_bytes())["address"]

    def start_worker(self, name: str) -> None:
        self.start(
            "worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--name", name, "--local-directory", str(self.folder),
        )  # fmt: skip

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("dask"))
    try:
        running.start_scheduler()
        yield running
    finally:
        running.stop()


class TestRunningSchedulers:
    """The tests run in this order: first without workers, then with two, and last the scheduler dies."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 0.5)
        monkeypatch.setattr(cluster_module, "SCHEDULER_FILE_TIMEOUT_S", 0.2)

    @pytest.mark.parametrize("address", [NOBODY_LISTENS, "127.0.0.1:9", "nonsense://x:1", "tcp://"])
    def test_an_address_where_nobody_answers(self, address):
        with pytest.raises(ClusterError) as told, dask_client(ClusterSettings(scheduler_address=address)):
            pass
        assert f"no Dask scheduler answers at {address}" in str(told.value)
        assert "dask scheduler" in str(told.value)

    def test_a_scheduler_that_asks_for_keys(self):
        settings = ClusterSettings(scheduler_address="tls://127.0.0.1:9")
        with pytest.raises(ClusterError, match="asks for keys: set"), dask_client(settings):
            pass

    def test_another_program_at_that_address(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
            with pytest.raises(ClusterError, match=address), dask_client(ClusterSettings(scheduler_address=address)):
                pass

    @pytest.mark.parametrize("content", [None, "", "{}", "[]", '"tcp://127.0.0.1:9"'])
    def test_a_file_that_names_no_scheduler(self, tmp_path, content):
        file = tmp_path / "scheduler.json"
        if content is not None:
            file.write_text(content)
        settings = ClusterSettings(scheduler_file=str(file))
        with pytest.raises(ClusterError, match=r"scheduler\.json names no Dask scheduler"), dask_client(settings):
            pass

    def test_without_workers(self, scheduler, monkeypatch):
        monkeypatch.setattr(cluster_module, "NO_WORKERS_S", 0.4)
        for settings in (
            ClusterSettings(scheduler_address=scheduler.address), ClusterSettings(scheduler_file=str(scheduler.file))
        ):  # fmt: skip
            told = rf"{scheduler.address} has had no workers for 0 s.*dask worker"
            said: list[str] = []
            with pytest.raises(ClusterError, match=told), dask_client(settings, say=said.append):
                pass
            assert said == ["the Dask cluster has no workers now: waiting up to 0 s for some"]

    @pytest.mark.parametrize("by", ["address", "file"])
    def test_units_run_on_its_workers_and_it_stays(self, scheduler, tmp_path, monkeypatch, by):
        monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 60)
        if len(scheduler.processes) == 1:
            scheduler.start_worker("one")
            scheduler.start_worker("two")
        settings = (
            ClusterSettings("cpu", scheduler_address=scheduler.address)
            if by == "address"
            else ClusterSettings("cpu", scheduler_file=str(scheduler.file))
        )
        state = StageState(Folder(str(tmp_path / "out")), "work")
        with LazyCluster(settings) as lazy:
            lazy.client.wait_for_workers(2, timeout=60)
            assert lazy.device == "cpu"
            pids = set(lazy.client.run(os.getpid).values())
            assert pids == {process.pid for process in scheduler.processes[1:]}

            def work(key: str) -> UnitResult:
                sizes = {f"{key}.txt": state.folder.write_bytes(f"{key}.txt", b"%d" % os.getpid())}
                return UnitResult(sizes, {"made": 1})

            units = [Unit(key, "v1", key) for key in "abcdefgh"]
            outcome = run_units(lazy, state, units, work, reporter=SilentReporter(), what="things")
        assert outcome.counts == {"made": 8}
        assert {int(state.folder.read_bytes(f"{unit.key}.txt")) for unit in units} <= pids
        assert all(process.poll() is None for process in scheduler.processes)

    def test_a_gpu_asked_of_workers_without_one(self, scheduler, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 60)
        settings = ClusterSettings("gpu", scheduler_address=scheduler.address)
        with LazyCluster(settings) as lazy, pytest.raises(DeviceError, match="a GPU was asked for"):
            _ = lazy.device

    def test_workers_with_another_version_are_refused(self, scheduler, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 60)
        monkeypatch.setattr(versions, "__version__", "99.0")
        settings = ClusterSettings(scheduler_address=scheduler.address)
        told = r"the workers have curator_dask .* and this process 99\.0"
        with pytest.raises(ClusterError, match=told), dask_client(settings):
            pass

    def test_a_scheduler_that_dies_is_an_error_and_finished_units_stay(self, scheduler, tmp_path, monkeypatch):
        monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT_S", 5)
        state = StageState(Folder(str(tmp_path / "out")), "work")

        def work(key: str) -> UnitResult:
            time.sleep(0 if key == "a" else 0.3)
            return UnitResult({}, {"made": 1})

        class Murderous(SilentReporter):
            def advance(self, count: int = 1) -> None:
                if count:
                    os.killpg(scheduler.processes[0].pid, signal.SIGKILL)

        units = [Unit(key, "v1", key) for key in "abcdefgh"]
        settings = ClusterSettings(scheduler_address=scheduler.address)
        with LazyCluster(settings) as lazy:
            with pytest.raises(ClusterError, match="run again to go on"):
                run_units(lazy, state, units, work, reporter=Murderous(), what="things")
            with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
                for ask in (
                    lambda: lazy.num_threads,
                    lambda: find_places(lazy.client, []),
                    lambda: ask_workers(lazy.client, os.getpid, timeout_s=1, say=print),
                ):
                    with pytest.raises(ClusterError, match="the Dask scheduler does not answer any more"):
                        ask()
        assert "a" in state.done_units()


def test_a_working_folder_that_was_removed_is_told(tmp_path, monkeypatch):
    """Dask would wait for its workers without end."""
    lost = tmp_path / "lost"
    lost.mkdir()
    monkeypatch.chdir(lost)
    lost.rmdir()
    with pytest.raises(ClusterError, match="was removed, so no worker can start in it: change to another folder"):
        LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)).client  # noqa: B018


def test_the_client_does_not_keep_what_finished_tasks_were_told():
    """Dask's scheduler, which runs in this process, would keep the last thousand messages to each worker."""
    with LazyCluster(local()) as lazy:
        for number in range(40):
            lazy.client.submit(repr, SimpleNamespace(told=number), pure=False).result()
        every = gc.get_objects()  # some warn when they are asked for their class
        held = [one for one in every if type(one) is SimpleNamespace and hasattr(one, "told")]
        assert len(held) < 20
