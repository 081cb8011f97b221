"""What the machines of a cluster must agree on: versions, and the disk that a path means."""

from __future__ import annotations

import functools
import sys

import cloudpickle
import pytest

from curator_dask.errors import ClusterError
from curator_dask.files.folder import Folder
from curator_dask.runtime import units
from curator_dask.runtime.agreement import shared_folder, versions
from curator_dask.runtime.agreement.shared_folder import lock_token, require_shared
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units
from curator_dask.runtime.waiting import ask_workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(shared_folder, "LOOK_AGAIN_S", 0.0)


def folder_in(path) -> Folder:
    return Folder(str(path))


class TestFolders:
    def test_the_folder_of_the_run_is_known_by_its_lock(self, tmp_path):
        with locked_stages([(folder_in(tmp_path), "work")], set()):
            token = lock_token(folder_in(tmp_path), "work")
            assert token
            require_shared(folder_in(tmp_path), "work", token)

    @pytest.mark.parametrize("is_in_use", [False, True], ids=["an empty folder", "another run's folder"])
    def test_another_folder_under_the_same_path_is_refused(self, tmp_path, is_in_use):
        locks = [(folder_in(tmp_path), "work")] if is_in_use else []
        told = rf"a worker does not see the output folder .*{tmp_path.name} of this run.*all machines share"
        with locked_stages(locks, set()), pytest.raises(ClusterError, match=told):
            require_shared(folder_in(tmp_path), "work", "the token of the run")

    def test_a_url_means_the_same_everywhere(self):
        assert lock_token(Folder("memory://bucket/out"), "work") == ""
        require_shared(Folder("memory://bucket/out"), "work", "")

    def test_without_a_lock_nothing_is_compared(self, tmp_path):
        assert lock_token(folder_in(tmp_path), "work") == ""
        require_shared(folder_in(tmp_path), "work", "")


class TestVersions:
    def test_equal_ones_are_no_difference(self):
        assert versions.different_versions([versions.deciding_versions()]) == ""

    def test_others_are_named_with_those_of_this_process(self):
        here = dict(versions.deciding_versions())
        there = tuple((here | {"numpy": "0.1", "decord": "missing"}).items())
        told = versions.different_versions([versions.deciding_versions(), there])
        assert told == f"numpy 0.1, {here['numpy']}; decord {here['decord']}, missing"

    def test_they_are_said_and_the_run_goes_on(self, cluster, monkeypatch):
        real = dict(versions.deciding_versions())
        monkeypatch.setattr(versions, "_version", lambda name: "0.1" if name == "numpy" else real[name])
        said: list[str] = []
        ask = functools.partial(ask_workers, cluster.client, timeout_s=60, say=said.append)
        versions.check_versions(ask, said.append)
        assert len(said) == 1
        assert said[0].endswith(f"may write different bytes: numpy 0.1, {real['numpy']}")

    def test_a_worker_of_another_version_that_comes_later_ends_the_run(self, cluster, tmp_path, monkeypatch):
        monkeypatch.setattr(units, "__version__", "99.0")
        with pytest.raises(ClusterError, match=r"a worker came with curator_dask .*, and the run has 99\.0"):
            _run(cluster, tmp_path)


def test_a_worker_that_sees_another_disk_ends_the_run(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "lock_token", lambda *_: "the token of another disk")
    with pytest.raises(ClusterError, match="does not see the output folder"):
        _run(cluster, tmp_path)


def _run(cluster, tmp_path) -> None:
    state = StageState(folder_in(tmp_path / "out"), "work")
    run_units(cluster, state, [Unit("a", "1", "a")], _nothing, reporter=SilentReporter(), what="things")


def _nothing(_: str) -> UnitResult:
    return UnitResult({})
