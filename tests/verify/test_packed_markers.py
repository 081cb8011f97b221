"""Verify, repair and prune where markers lie in batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator_dask import verify_output
from curator_dask.files.folder import Folder
from curator_dask.runtime.markers import packing
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState

KEYS = "abcdef"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageState:
    """A finished stage of six units, whose markers lie in one batch."""
    monkeypatch.setattr(packing, "MOST_LOOSE", 1)
    state = StageState(Folder(str(tmp_path)), "work")
    state.claim({"eps": 0.1})
    for key in KEYS:
        finish(state, key)
    state.pack()
    state.summarise({"n": 6})
    assert verify_output(str(tmp_path)).findings == ()
    return state


def finish(state: StageState, key: str) -> None:
    outputs = {path: state.folder.write_bytes(path, key.encode()) for path in (f"{key}.txt", state.beside_marker(key))}
    state.write(UnitRecord(key, "v1", outputs))


def batch(state: StageState) -> Path:
    (path,) = state.folder.local_path(state.path("batches")).iterdir()
    return path


@pytest.mark.parametrize("hit", [b'"key": "c', b"c.txt", b'"seal"', b'"inputs"'])
def test_a_damaged_record_is_named_alone_and_only_its_unit_is_redone(state: StageState, hit: bytes) -> None:
    path = batch(state)
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(hit, bytes([hit[0] ^ 1]) + hit[1:])
    path.write_bytes(b"\n".join(lines))
    check = verify_output(state.folder.url, repair=True)
    found = [(finding.path, finding.kind, finding.stage) for finding in check.findings]
    assert found == [(f".curator/work/batches/{path.name}:3", "damaged", "work")]
    assert check.num_marked == 1
    assert sorted(state.done_units()) == list("abdef")
    finish(state, "c")
    state.pack()
    assert verify_output(state.folder.url).findings == ()
    assert sorted(state.done_units()) == list(KEYS)


def test_a_changed_output_marks_its_unit_alone(state: StageState) -> None:
    state.folder.write_bytes("b.txt", b"x")
    (finding,) = verify_output(state.folder.url, repair=True).findings
    assert (finding.path, finding.kind, finding.unit) == ("b.txt", "changed", "b")
    assert sorted(key for key, inputs in state.done_units().items() if inputs == "v1") == list("acdef")


def test_a_batch_that_a_killed_client_left_beside_a_larger_one_is_no_finding(state: StageState) -> None:
    earlier = batch(state)
    text = earlier.read_bytes()
    for key in "ghijkl":
        finish(state, key)
    state.pack()
    assert not earlier.exists()
    earlier.write_bytes(text)
    assert verify_output(state.folder.url).findings == ()
    assert sorted(state.done_units()) == list("abcdefghijkl")


def test_a_temporary_file_among_the_batches_is_an_orphan(state: StageState) -> None:
    batch(state).with_name(".curator-tmp-1").write_bytes(b"half")
    (finding,) = verify_output(state.folder.url).findings
    assert (finding.kind, finding.stage) == ("orphaned", state.stage)  # not "", though its folder is that of the output
    state.summarise({"n": 6})
    assert verify_output(state.folder.url).findings == ()
