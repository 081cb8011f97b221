"""One run at a time per stage and folder: real processes on a local disk, a lease on an object store."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from curator_dask.errors import CuratorError, FolderLockedError, InputError
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import asking_once as memory
from curator_dask.files.object_store.asking_once import asking_once
from curator_dask.runtime.lock import lease
from curator_dask.runtime.lock.holder import Holder
from curator_dask.runtime.lock.stage_locks import locked_stages

HOLD = """
import sys, time
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import asking_once as memory
from curator_dask.files.object_store.asking_once import asking_once
from curator_dask.runtime.lock.stage_locks import locked_stages
with locked_stages([(Folder(sys.argv[1]), "work")], set()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def held(folder: Folder | Path) -> bool:
    folder = folder if isinstance(folder, Folder) else Folder(str(folder))
    with locked_stages([(folder, "work")], set()):
        return True


def test_the_second_run_is_told_who_holds_the_folder(holder, tmp_path):
    began = time.monotonic()
    with pytest.raises(
        FolderLockedError, match=rf"out is in use: process {holder.pid} of .+ on .+, since \d{{4}}-"
    ) as told:
        held(tmp_path / "out")
    assert time.monotonic() - began < 30  # it does not wait for the other
    assert isinstance(told.value, CuratorError)
    assert told.value.exit_code == 4


def test_a_holder_that_has_not_written_its_name_yet_is_told_by_it(tmp_path):
    path = tmp_path / "out" / ".curator" / "work" / "lock"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        naming = threading.Timer(0.2, path.write_bytes, [Holder.myself().to_bytes()])
        naming.start()
        with pytest.raises(FolderLockedError, match=f"in use: process {os.getpid()} of"):
            held(tmp_path / "out")
        naming.join()


def test_a_killed_run_leaves_no_lock(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / ".curator" / "work" / "lock").exists()
    assert held(tmp_path / "out")
    assert not (tmp_path / "out" / ".curator" / "work" / "lock").exists()


def test_other_stages_and_other_folders_are_free(holder, tmp_path):
    mine: set[tuple[str, str]] = set()
    with locked_stages([(Folder(str(tmp_path / "out")), "other"), (Folder(str(tmp_path)), "work")], mine):
        assert len(mine) == 2


def test_a_run_takes_each_lock_once_and_gives_it_back(tmp_path):
    mine: set[tuple[str, str]] = set()
    stage = (Folder(str(tmp_path / "out")), "work")
    with locked_stages([stage], mine):
        with locked_stages([stage], mine):
            assert len(mine) == 1
        with pytest.raises(FolderLockedError):
            held(tmp_path / "out")
    assert mine == set()
    assert held(tmp_path / "out")
    assert not (tmp_path / "out").exists()  # it was made for the locks alone


def test_of_many_runs_at_once_one_works_at_a_time(tmp_path):
    """The lock file comes and goes all the time here."""
    working, most, refused = [], [], []

    def work() -> None:
        for _ in range(100):
            try:
                with locked_stages([(Folder(str(tmp_path / "out")), "work")], set()):
                    working.append(1)
                    most.append(len(working))
                    working.pop()
            except FolderLockedError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 400


def test_where_nobody_can_write_no_lock_is_needed_to_look_at_a_run(tmp_path, small_disk):
    small_disk("size=100k")
    (tmp_path / "disk" / "out" / ".curator" / "work").mkdir(parents=True)
    (tmp_path / "disk" / "new").mkdir()
    small_disk("ro")
    assert held(tmp_path / "disk" / "out")
    with pytest.raises(
        InputError, match=r"cannot write .*new': Read-only file system\. Make room there or get the right"
    ):
        held(tmp_path / "disk" / "new")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_folder_that_cannot_be_made_is_refused():
    with pytest.raises(InputError, match="cannot write '/proc/out': No such file"):
        held(Path("/proc/out"))


class TestObjectStore:
    @pytest.fixture
    def folder(self, s3) -> Folder:
        return Folder(f"{s3.url}/{time.monotonic_ns()}", s3.storage_options)

    def test_the_second_run_is_refused_and_nothing_is_left(self, folder):
        with (
            locked_stages([(folder, "work")], set()),
            pytest.raises(FolderLockedError, match=rf"process {os.getpid()}"),
        ):
            held(folder)
        assert held(folder)
        assert list(folder.entries(hidden=True)) == []

    def test_a_lease_that_nobody_renews_is_taken_over(self, folder, monkeypatch):
        folder.write_bytes(".curator/work/lock", Holder.myself().to_bytes())
        with pytest.raises(FolderLockedError):
            held(folder)
        monkeypatch.setattr(lease, "EXPIRES_S", 0.5)
        monkeypatch.setattr(lease, "SETTLE_S", 0.1)
        time.sleep(1.5)
        assert held(folder)

    def test_a_lock_of_another_run_stays_whatever_a_stage_remembers(self, folder):
        other = Holder.myself().to_bytes()
        with asking_once(), locked_stages([(folder, "work")], set()):
            assert folder.read_bytes(".curator/work/lock") != other
            with pytest.MonkeyPatch.context() as patch:  # another process writes, of which this one hears nothing
                patch.setattr(memory, "_ALL", [])
                folder.write_bytes(".curator/work/lock", other)
        assert folder.read_bytes(".curator/work/lock") == other

    def test_a_lease_is_renewed_while_its_holder_works(self, folder, monkeypatch):
        monkeypatch.setattr(lease, "RENEW_S", 0.2)
        monkeypatch.setattr(lease, "EXPIRES_S", 2.5)
        with locked_stages([(folder, "work")], set()):
            time.sleep(4)
            with pytest.raises(FolderLockedError):
                held(folder)

    def test_a_holder_whose_lease_was_taken_says_so(self, folder, monkeypatch):
        monkeypatch.setattr(lease, "RENEW_S", 0.1)
        other = Holder("ann", "far", 7, "now")
        with (
            pytest.raises(FolderLockedError, match="process 7 of ann on far"),
            locked_stages([(folder, "work")], set()),
        ):
            folder.write_bytes(".curator/work/lock", other.to_bytes())
            time.sleep(1)
        assert folder.exists(".curator/work/lock")
