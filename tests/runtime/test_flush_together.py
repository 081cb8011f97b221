"""Units of a task whose files are flushed together: a marker gets its name only when what it tells of is on the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.local_disk.held_files import HeldFiles, put_in_place
from curator_dask.runtime import units as units_module
from curator_dask.runtime.records import UnitResult, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_task
from tests.trees import tree

KEYS = "abcdefghijk"
Work = Callable[[str], UnitResult]


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units_module, "FLUSHED_TOGETHER", 4)


@pytest.fixture
def state(tmp_path: Path) -> StageState:
    return StageState(Folder(str(tmp_path / "out")), "work")


def all_units() -> list[Unit[str]]:
    return [Unit(key, digest(key), key, f"/videos/{key}.mp4") for key in KEYS]


def writing(state: StageState) -> Work:
    """Work that writes a file, and one beside the marker."""

    def work(key: str) -> UnitResult:
        paths = (f"tables/{key}.txt", state.beside_marker(key))
        return UnitResult({path: state.folder.write_bytes(path, key.encode() * 9) for path in paths}, {"made": 1})

    return work


def flushes(events: list[tuple[str, str]], path: str) -> list[int]:
    """When the folder of a file was flushed."""
    return [at for at, event in enumerate(events) if event == ("flushed", str(Path(path).parent))]


def temporary_files(state: StageState) -> list[Path]:
    return list(Path(state.folder.root).rglob(".curator-tmp-*"))


def test_files_and_records_are_those_of_units_that_are_flushed_alone(tmp_path, state):
    alone = StageState(Folder(str(tmp_path / "alone")), "work")
    records = run_task(state, all_units(), writing(state), flush_together=True)
    assert records == run_task(alone, all_units(), writing(alone))
    assert tree(tmp_path / "out") == tree(tmp_path / "alone")
    assert state.done_units() == {unit.key: unit.inputs for unit in all_units()}


def test_a_marker_is_named_when_the_files_it_tells_of_are_on_the_disk(state, monkeypatch):
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("flushed", os.readlink(f"/proc/self/fd/{descriptor}")))

    def watched_replace(source: str, target: str) -> None:
        events.append(("named", str(source)))
        replace(source, target)
        events.append(("named", str(target)))

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    run_task(state, all_units(), writing(state), flush_together=True)
    place = {event: number for number, event in enumerate(events)}  # of each event, the last
    first = {event: number for number, event in reversed(list(enumerate(events)))}
    named = [path for what, path in events if what == "named"]
    temporary = dict(zip(named[1::2], named[::2], strict=True))
    assert len(temporary) == 3 * len(KEYS)
    for path, name in temporary.items():
        assert place["flushed", name] < place["named", path]
    for record in state.records():
        path = state.folder.join(state.path("units", f"{record.key}.json"))
        marker = first["named", path]
        for output in map(state.folder.join, record.outputs):
            assert any(place["named", output] < at < marker for at in flushes(events, output))
        assert any(at > marker for at in flushes(events, path))
    num_flushed = sum(what == "flushed" and Path(path).is_dir() for what, path in events)
    assert num_flushed == 3 * 2 + 1  # two folders for 4, 4 and 3 units, and that of the last markers


def test_a_unit_that_fails_leaves_no_file_of_its_own(state):
    work = writing(state)

    def fails(key: str) -> UnitResult:
        result = work(key)
        if key in "ck":
            raise InputError("it is not what it should be")
        return result

    records = run_task(state, all_units(), fails, flush_together=True)
    assert [record.key for record in records] == list(KEYS)
    assert {record.key: record.failures[0].reason for record in records if record.failures} == {
        "c": "failed", "k": "failed"
    }  # fmt: skip
    assert state.done_units().keys() == set(KEYS) - set("ck")
    names = sorted(path.name for path in Path(state.folder.root, "tables").iterdir())
    assert names == [f"{key}.txt" for key in KEYS if key not in "ck"]


@pytest.mark.parametrize("ending", [".txt", ".json"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_file_that_cannot_be_put_in_place_is_the_failure_of_its_unit(state, monkeypatch, ending, number):
    replace = os.replace

    def full(source: str, target: str) -> None:
        if Path(target).name == f"c{ending}":
            raise OSError(number, os.strerror(number))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    records = run_task(state, all_units(), writing(state), flush_together=True)
    [failed] = [record for record in records if record.failures]
    assert failed.key == "c"
    assert ("Make room" in failed.failures[0].message) == (number == errno.ENOSPC)
    assert state.done_units().keys() == set(KEYS) - {"c"}
    assert not temporary_files(state)


def test_where_a_folder_cannot_be_flushed_no_marker_is_written(state, monkeypatch):
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/tables"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    records = run_task(state, all_units(), writing(state), flush_together=True)
    assert all(record.failures for record in records)
    assert not list(state.records())
    assert not temporary_files(state)


def test_held_files_are_not_there_until_they_are_put_in_place(tmp_path):
    folder, held = Folder(str(tmp_path)), HeldFiles()
    with held.holding():
        folder.write_bytes("a.txt", b"a")
        folder.write_bytes("below/b.txt", b"b")
    assert not tree(tmp_path).keys() & {"a.txt", "below/b.txt"}
    assert put_in_place([held]) == [None]
    assert tree(tmp_path).keys() == {"a.txt", "below/b.txt"}
    with pytest.raises(InputError), held.holding():
        folder.write_bytes("c.txt", b"c")
        raise InputError("it stops")
    assert put_in_place([held]) == [None]
    assert tree(tmp_path).keys() == {"a.txt", "below/b.txt"}


def test_the_files_of_the_next_unit_are_asked_for_while_one_is_done(tmp_path, state, monkeypatch):
    events: list[str] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda descriptor, *_: events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    inputs = Folder(str(tmp_path / "inputs"))
    for name in "ac":
        inputs.write_bytes(name, b"x")
    units = [replace(unit, reads=(inputs, (unit.key,))) for unit in all_units()][:4]  # there is no file of two of them

    def work(key: str) -> UnitResult:
        events.append(f"work {key}")
        return UnitResult()

    assert len(run_task(state, units, work, flush_together=True)) == 4
    assert [Path(event).name for event in events] == ["work a", "c", "work b", "work c", "work d"]
