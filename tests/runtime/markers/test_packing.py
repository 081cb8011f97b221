"""Markers in batches: the same records as in files of their own, whatever is packed, forgotten, damaged or killed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError
from curator_dask.files.content_hash import Written
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import kept_contents
from curator_dask.files.object_store.asking_once import asking_once, holding_folder
from curator_dask.runtime.markers import batches as batch_files
from curator_dask.runtime.markers import markers as all_markers
from curator_dask.runtime.markers import packing
from curator_dask.runtime.markers.lines import is_whole, key_of, lines_in
from curator_dask.runtime.markers.lines import line_of as line_of_fields
from curator_dask.runtime.records import Failure, UnitRecord, hashes_of
from curator_dask.runtime.state import StageState

OPEN = Failure("work", "v.mp4", "timeout", "it took too long")
FINAL = Failure("work", "v.mp4", "no-video-stream", "there is no video in it", "clip")


@pytest.fixture
def local(tmp_path: Path) -> StageState:
    return StageState(Folder(str(tmp_path / "out")), "work")


@pytest.fixture(params=["local", "s3", "s3 within a stage"])
def state(request: pytest.FixtureRequest, local: StageState, tmp_path: Path) -> Iterator[StageState]:
    if request.param == "local":
        yield local
        return
    s3 = request.getfixturevalue("s3")
    state = StageState(Folder(f"{s3.url}/{tmp_path.name}", s3.storage_options), "work")
    with asking_once() if request.param != "s3" else nullcontext(), holding_folder(state.folder.root):
        yield state


@pytest.fixture(autouse=True)
def few_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_LOOSE", 2)


def finish(state: StageState, key: str, inputs: str = "v1", content: bytes = b"12345", **more: object) -> UnitRecord:
    record = UnitRecord(key, inputs, {f"{key}.txt": state.folder.write_bytes(f"{key}.txt", content)}, **more)  # type: ignore[arg-type]
    state.write(record)
    return record


def line_of(record: UnitRecord) -> bytes:
    return line_of_fields(record.key, record.fields())


def names(state: StageState, folder: str) -> list[str]:
    return [entry.path.rpartition("/")[2] for entry in state.folder.entries(state.path(folder))]


def keys(state: StageState) -> list[str]:
    return [record.key for record in state.records()]


def test_packed_markers_say_what_loose_ones_said(state: StageState) -> None:
    for key in ("b", "a.b", "a", "a-1"):
        finish(state, key, counts={"n": 1}, failures=(FINAL,), data={"rows": [key, {"z": 1, "a": "é\n"}]})
    state.write(UnitRecord("nothing", "v1"))
    before = list(state.records())
    assert state.pack() == {"b", "a.b", "a", "a-1", "nothing"}
    assert names(state, "units") == []
    assert len(names(state, "batches")) == 1
    assert list(state.records()) == before
    assert [hashes_of(one.outputs) for one in state.records()] == [hashes_of(one.outputs) for one in before]
    assert [state.record(one.key) for one in before] == before
    assert state.record("c") is None
    assert state.done_units() == dict.fromkeys(["a-1", "a.b", "a", "b", "nothing"], "v1")
    state.folder.remove("a.txt")
    assert "a" not in state.done_units()


def test_markers_of_earlier_versions_go_on_as_they_are(state: StageState) -> None:
    """Those had no seal and no hashes; some lie beside batches."""
    finish(state, "new")
    finish(state, "newer")
    state.pack()
    state.folder.write_bytes("old.txt", b"12345")
    old = {"key": "old", "inputs": "v1", "outputs": {"old.txt": 5}, "counts": {"n": 1}, "failures": [], "data": {},
           "final": True}  # fmt: skip
    state.folder.write_bytes(state.path("units", "old.json"), json.dumps(old).encode())
    assert state.done_units() == {"new": "v1", "newer": "v1", "old": "v1"}
    loose = state.record("old")
    finish(state, "newest")
    state.pack()
    assert names(state, "units") == []
    assert state.record("old") == loose
    assert state.done_units() == {"new": "v1", "newer": "v1", "newest": "v1", "old": "v1"}


def test_few_markers_and_those_of_open_failures_stay_as_they_are(state: StageState) -> None:
    finish(state, "a")
    assert state.pack() == {"a"}
    assert names(state, "units") == ["a.json"]
    finish(state, "b")
    finish(state, "open", failures=(OPEN,))
    state.pack()
    assert names(state, "units") == ["open.json"]
    assert keys(state) == ["a", "b", "open"]


def test_what_is_newer_counts(state: StageState) -> None:
    for inputs in ("v1", "v2", "v3"):
        for key in "ab":
            finish(state, key, inputs)
        state.pack()
    assert state.done_units() == {"a": "v3", "b": "v3"}
    finish(state, "a", "v4")
    assert state.done_units() == {"a": "v4", "b": "v3"}
    assert state.record("a") == next(state.records())


def test_a_newer_version_takes_away_what_only_the_packed_one_wrote(state: StageState) -> None:
    for key in "ab":
        finish(state, key)
    state.pack()
    state.write(UnitRecord("a", "v2", {"new.txt": state.folder.write_bytes("new.txt", b"1")}))
    assert [entry.path for entry in state.folder.entries()] == ["b.txt", "new.txt"]
    state.write(UnitRecord("b", "v2"), ["b.txt"])
    assert [entry.path for entry in state.folder.entries()] == ["new.txt"]


def test_a_forgotten_unit_stays_forgotten(state: StageState) -> None:
    for key in "abcdef":
        finish(state, key)
    state.pack()
    finish(state, "g")
    state.forget(["b", "g", "never-there"])
    assert keys(state) == ["a", "c", "d", "e", "f"]
    assert state.record("b") is None
    assert not state.folder.exists("b.txt")
    assert not state.folder.exists("g.txt")
    finish(state, "h")
    finish(state, "b", "again")
    state.pack()
    assert keys(state) == ["a", "b", "c", "d", "e", "f", "h"]
    state.forget("abcdefh")
    assert names(state, "batches") == []


def test_a_broken_unit_is_done_again_and_nothing_else(state: StageState) -> None:
    for key in "abc":
        finish(state, key)
    state.pack()
    state.mark_broken("b")
    assert {key for key, inputs in state.done_units().items() if inputs == "v1"} == {"a", "c"}
    finish(state, "b")
    assert state.done_units() == dict.fromkeys("abc", "v1")


def test_other_parameters_replace_packed_results(state: StageState) -> None:
    state.claim({"eps": 1})
    for key in "abc":
        finish(state, key)
    state.pack()
    state.claim({"eps": 2}, overwrite=True)
    assert [entry.path for entry in state.folder.entries()] == []
    assert keys(state) == []


def test_tables_beside_packed_markers_keep_their_hashes(state: StageState) -> None:
    paths = [state.beside_marker(f"u{number:02}") for number in range(20)]
    for number, path in enumerate(paths):
        state.write(UnitRecord(f"u{number:02}", "v1", {path: state.folder.write_bytes(path, b"%d" % number)}))
    loose = list(state.beside_markers(paths))
    state.pack()
    assert list(state.beside_markers(paths)) == loose
    assert list(state.beside_markers(paths[3:5])) == loose[3:5]
    assert all(recorded for _, _, recorded in loose)
    assert set(state.done_units()) == {f"u{number:02}" for number in range(20)}


def test_a_marker_that_is_written_meanwhile_is_not_removed(state: StageState, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in "ab":
        finish(state, key)
    add = packing.add

    def late(*arguments: object) -> None:
        add(*arguments)  # type: ignore[arg-type]
        finish(state, "a", "v2", b"a worker that was thought dead")

    monkeypatch.setattr(packing, "add", late)
    state.pack()
    assert names(state, "units") == ["a.json"]
    assert state.done_units() == {"a": "v2", "b": "v1"}


def test_the_number_of_batches_grows_with_the_logarithm(local: StageState) -> None:
    state = local
    for number in range(0, 200, 2):
        for one in (number, number + 1):
            state.write(UnitRecord(f"{one:04}", "v1"))
        state.pack()
    assert len(names(state, "batches")) <= 7
    assert keys(state) == [f"{number:04}" for number in range(200)]


def test_large_batches_are_left_alone(local: StageState, monkeypatch: pytest.MonkeyPatch) -> None:
    state = local
    monkeypatch.setattr(packing, "MOST_BYTES", 1500)
    monkeypatch.setattr(packing, "PACKED_BYTES", 600)
    for number in range(40):
        state.write(UnitRecord(f"{number:02}", "v1", data={"text": "x" * (number % 7) * 20}))
    state.pack()
    sizes = [entry.num_bytes for entry in state.folder.entries(state.path("batches"))]
    assert len(sizes) > 5
    assert max(sizes) < 1500
    assert keys(state) == [f"{number:02}" for number in range(40)]


@given(
    lengths=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    look_up=st.integers(1, 700),
    piece=st.integers(1, 900),
)
@settings(max_examples=15)
def test_every_record_is_found_whatever_is_read_at_a_time(tmp_path_factory, lengths, look_up, piece) -> None:  # type: ignore[no-untyped-def]
    state = StageState(Folder(str(tmp_path_factory.mktemp("found"))), "work")
    records = [UnitRecord(f"k{2 * n}", "v1", data={"text": "x" * length}) for n, length in enumerate(lengths)]
    packing.add(state._markers.batches, map(line_of, records))
    (batch,) = state._markers.batches.listed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_files, "LOOK_UP_BYTES", look_up)
        patch.setattr(all_markers, "ALL_PIECES_BYTES", 1)
        assert [state.record(record.key) for record in records] == records
        assert [state.record(f"k{2 * number + 1}") for number in range(-1, len(records))] == [None] * (len(records) + 1)
        read = list(state._markers.batches.lines(batch, piece_bytes=piece))
    assert sorted(key_of(line) for whole, _ in read for line in whole) == sorted(record.key for record in records)
    assert not any(damaged for _, damaged in read)


class TestDamage:
    """A damaged byte costs the record that holds it, and no other."""

    RECORDS: ClassVar = [UnitRecord(key, "v1", {f"{key}.txt": Written(3, "blake2b:00")}, {"n": 1}) for key in "abc"]

    def test_of_any_byte(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.CRITICAL)
        state = StageState(Folder(str(tmp_path)), "work")
        packing.add(state._markers.batches, map(line_of, self.RECORDS))
        (path,) = (tmp_path / ".curator/work/batches").iterdir()
        whole = path.read_bytes()
        for place in range(len(whole)):
            for changed in (whole[place] ^ 1, ord("\n")):
                if changed == whole[place]:
                    continue
                path.write_bytes(whole[:place] + bytes([changed]) + whole[place + 1 :])
                hit = whole[:place].count(b"\n") if whole[place : place + 1] != b"\n" else None
                left = [record for number, record in enumerate(self.RECORDS) if number != hit]
                assert list(state.records()) == left, place
                assert [state.record(record.key) for record in left] == left

    def test_is_carried_along_and_dropped_on_request(self, tmp_path: Path) -> None:
        state = StageState(Folder(str(tmp_path)), "work")
        for record in self.RECORDS:
            state.write(record)
        state.pack()
        (path,) = (tmp_path / ".curator/work/batches").iterdir()
        path.write_bytes(path.read_bytes().replace(b'"key": "b"', b'"key": "x"'))
        for key in "def":
            state.write(UnitRecord(key, "v1"))
        state.pack()
        assert keys(state) == ["a", "c", "d", "e", "f"]
        (path,) = (tmp_path / ".curator/work/batches").iterdir()
        assert b'"key": "x"' in path.read_bytes()
        assert state.record("f") == UnitRecord("f", "v1")
        state.drop_damaged()
        (path,) = (tmp_path / ".curator/work/batches").iterdir()
        whole, damaged = lines_in(path.read_bytes())
        assert ([key_of(line) for line in whole], damaged) == (["a", "c", "d", "e", "f"], [])

    def test_a_line_of_another_form_is_no_record(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        state = StageState(Folder(str(tmp_path)), "work")
        line = line_of(self.RECORDS[0])
        assert is_whole(line)
        assert json.loads(line)["outputs"] == {"a.txt": [3, "blake2b:00"]}
        packing.add(state._markers.batches, [line, line_of_fields("b", {"results": 1})])
        assert list(state.records()) == [self.RECORDS[0]]
        assert state.record("b") is None
        assert "not understood" in caplog.text


KILLED = '''
import itertools, os, shutil, signal, sys
from pathlib import Path

calls, last = itertools.count(), None

def dying(function):
    """End at one call that changes the disk: even steps before it, odd ones after it."""
    def call(*arguments, **named):
        number = next(calls) if last is not None else -2
        if last == 2 * number:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **named)
        finally:
            if last == 2 * number + 1:
                os.kill(os.getpid(), signal.SIGKILL)
    return call

for name in ("replace", "unlink", "rmdir"):
    setattr(os, name, dying(getattr(os, name)))

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.runtime.markers import packing
from curator_dask.runtime.state import StageState

packing.MOST_LOOSE = 2
work, start = sys.argv[1], Path(sys.argv[2])
state = StageState(Folder(f"{start}-now"), "work")

for step in itertools.count():
    shutil.rmtree(state.folder.root, ignore_errors=True)
    shutil.copytree(start, state.folder.root)
    child = os.fork()
    if not child:
        last = step
        state.pack() if work == "pack" else state.forget(["k01", "k05"])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    for _ in range(2):
        done = state.done_units()
        gone = {"k01", "k05"} - done.keys()
        if work == "pack":
            assert not gone, (step, gone)
        expected = {f"k{number:02}": "v1" for number in range(12)} | {"k00": "v2"}
        assert done == {key: inputs for key, inputs in expected.items() if key not in gone}, (step, done)
        assert [record.key for record in state.records()] == sorted({record.key for record in state.records()})
        if work == "forget":
            state.forget(["k01", "k05"])
            assert state.done_units().keys() == {f"k{number:02}" for number in range(12)} - {"k01", "k05"}
            break
        state.pack()
    state.pack()
    assert sum(entry.path.endswith(".txt") for entry in state.folder.entries()) == (12 if work == "pack" else 10)
    if not status:
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
print(step)
'''


@pytest.mark.parametrize("work", ["pack", "forget"])
def test_a_client_that_is_killed_between_any_two_steps_loses_nothing(tmp_path: Path, work: str) -> None:
    """Two batches that will be joined, one of them with an older version of a unit, and loose markers."""
    state = StageState(Folder(str(tmp_path / "start")), "work")
    for some in (range(6), range(6, 9)):
        for number in some:
            finish(state, f"k{number:02}")
        state.pack()
    finish(state, "k00", "v2")
    for number in range(9, 12):
        finish(state, f"k{number:02}")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, work, state.folder.root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_large_markers_stay_files_of_their_own(local: StageState) -> None:
    records = [UnitRecord(f"u{number}", "v1", data={"text": "x" * 900 * number}) for number in range(8)]
    for record in records:
        local.write(record)
    local.pack()
    assert names(local, "units") == ["u5.json", "u6.json", "u7.json"]
    assert list(local.records()) == records


@pytest.mark.parametrize("chosen", [range(3, 5), range(0, 60, 2), range(20, 50), range(60)])
def test_some_records_out_of_several_batches(state: StageState, monkeypatch: pytest.MonkeyPatch, chosen: range) -> None:
    monkeypatch.setattr(batch_files, "LOOK_UP_BYTES", 300)
    records = [UnitRecord(f"u{number:02}", "v1") for number in range(60)]
    for some in (records[0::3], records[1::3], records[2::3]):
        packing.add(state._markers.batches, map(line_of, some))
    state.write(records[4])
    state.forget(["u22"])
    wanted = [records[number].key for number in chosen]
    found = sorted(state.records_of([*wanted, "never-there"]), key=lambda record: record.key)
    assert found == [record for record in records if record.key in wanted and record.key != "u22"]


def put_markers(state: StageState, numbers: range) -> list[str]:
    """Leave the markers of units without outputs, as `write` would, but without its questions; returns the keys."""
    some = [f"k{number:03}" for number in numbers]
    if state.folder.is_local:
        state.folder.local_path(state.path("units")).mkdir(parents=True, exist_ok=True)
    for key in some:
        path, text = state._markers.loose_path(key), UnitRecord(key, "v1").to_json()
        if state.folder.is_local:
            state.folder.local_path(path).write_bytes(text)  # nothing is flushed to the disk
        else:
            state.folder.write_bytes(path, text)
    return some


class TestReadWhilePacked:
    """Another process reads the markers while the client of the run packs them."""

    @pytest.fixture(autouse=True)
    def few_at_a_time(self, monkeypatch):
        """So that a reader has markers before it that it has not read yet, without hundreds of them."""
        monkeypatch.setattr(all_markers, "AT_A_TIME", 16)
        monkeypatch.setattr(kept_contents, "LARGEST_BYTES", 0)  # the other process has not read what the client read

    def test_loose_markers_that_are_packed_meanwhile_are_not_lost(self, state):
        all_keys = put_markers(state, range(40))
        reading = state.records()
        found = [next(reading)]
        state.pack()
        assert not names(state, "units")
        assert [one.key for one in [*found, *reading]] == all_keys

    def test_a_unit_that_is_forgotten_meanwhile_is_left_out(self, state):
        put_markers(state, range(40))
        reading = state.records()
        next(reading)
        state.pack()
        state.forget(["k039"])
        assert [one.key for one in reading] == [f"k{number:03}" for number in range(1, 39)]

    def test_a_batch_that_is_joined_meanwhile_is_an_error_that_says_so(self, local, monkeypatch):
        monkeypatch.setattr(all_markers, "ALL_PIECES_BYTES", 1)
        put_markers(local, range(600))
        local.pack()
        reading = local.records()
        next(reading)
        put_markers(local, range(600, 1300))
        local.pack()
        with pytest.raises(InputError, match="Try again"):
            list(reading)
