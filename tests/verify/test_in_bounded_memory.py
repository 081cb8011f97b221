"""What verify and prune sort on the disk is what they found when all of it was in memory, whatever the names."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from curator_dask import InputError, prune_output, verify_output
from curator_dask.files.buckets import sorted_rows
from curator_dask.files.content_hash import Written
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.layout import preview_path
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.verify import check_files, recorded_files
from curator_dask.verify.recorded_files import FileRecords, Recorded, RecordedFiles
from curator_dask.verify.texts import Texts

ODD = [" ", "a\nb", "漢字", "\U0001f600", "\uffff", "a,b", "z" * 200, "Z", "\udce9 is no UTF-8", "a", "a "]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_rows, "BLOCK_ROWS", 40)
    monkeypatch.setattr(sorted_rows, "BATCH_ROWS", 3)
    monkeypatch.setattr(recorded_files, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(check_files, "FILES_AT_ONCE", 5)


@pytest.mark.parametrize("num_texts", [0, 1, 2, 39, 40, 500])
def test_texts_that_come_twice_are_found(tmp_path: Path, num_texts: int) -> None:
    random = np.random.default_rng(num_texts)
    given = ["", *ODD, *ODD[:3], *(f"clip-{number}" for number in random.integers(0, 2_000, num_texts))]
    found = Texts(tmp_path)
    for start in range(0, len(given), 11):
        found.add(given[start : start + 11])
    assert found.twice() == sorted(text for text, times in Counter(given).items() if times > 1)


def test_no_texts_come_twice_where_there_are_none(tmp_path: Path) -> None:
    assert Texts(tmp_path).twice() == []


def test_each_path_meets_all_that_is_known_of_it(tmp_path: Path) -> None:
    random, files = np.random.default_rng(3), RecordedFiles(tmp_path)
    names = [*ODD, *(f"clips/{number}.mp4" for number in range(150))]
    there = {f"kmeans/{name}": int(random.integers(100)) for name in names if random.random() < 0.8}
    assert list(files.listing(Entry(path, size, "") for path, size in there.items())) == list(there)
    records: dict[str, list[Recorded]] = defaultdict(list)
    for stage in (1, 0):
        for unit in ["", *ODD[:5], *map(str, range(30))]:
            size = Written(int(random.integers(100)), "blake2b:ab" if random.random() < 0.5 else "")
            path = names[int(random.integers(len(names)))]
            files.add(stage, "kmeans/", [(path, size)], unit)
            records[f"kmeans/{path}"].append(Recorded(stage, unit, size, size.content_hash))

    def place(one: Recorded) -> tuple[int, bool, bytes]:
        return one.stage, not one.unit, one.unit.encode("utf-8", "surrogatepass")

    expected = {
        path: FileRecords(path, there.get(path), tuple(sorted(records.get(path, ()), key=place)))
        for path in there.keys() | records.keys()
    }
    assert {file.path: file for file in files} == expected
    assert [file.path for file in files] == sorted(expected, key=lambda path: path.encode("utf-8", "surrogatepass"))
    assert (files.num_files, files.num_bytes) == (len(there), sum(there.values()))
    assert files.num_without_hash == sum(not one.content_hash for some in records.values() for one in some)


def _finished(folder: Path) -> StageState:
    """A stage of 30 units with a file each, some of odd names."""
    state = StageState(Folder(str(folder)), "work")
    state.claim({"eps": 0.1})
    for number, name in enumerate([*(one for one in ODD if "\udce9" not in one), *map(str, range(20))]):
        _finish(state, f"unit-{number}", f"files/{name}")
    state.summarise({"n": 30})
    return state


def _finish(state: StageState, key: str, path: str) -> None:
    state.write(UnitRecord(key, "v1", {path: state.folder.write_bytes(path, path.encode())}))


def test_faults_of_many_files_are_all_named(tmp_path: Path) -> None:
    state = _finished(tmp_path / "out")
    files = tmp_path / "out" / "files"
    (files / "a\nb").write_bytes(b"other bytes")
    (files / "漢字").unlink()
    (files / "7").write_bytes(b"files/8")
    (files / "mine").write_bytes(b"")
    state.write(UnitRecord("thief", "v1", {"files/9": len("files/9")}))
    found = verify_output(str(tmp_path / "out"), repair=True)
    told = [(finding.path, finding.kind, finding.unit) for finding in found.findings]
    names = {record.key: next(iter(record.outputs)) for record in state.records()}
    unit_of = {path: key for key, path in names.items() if key != "thief"}
    assert told == [
        ("files/mine", "extra", ""),
        ("files/7", "changed", unit_of["files/7"]),
        ("files/9", "doubled", unit_of["files/9"]),
        ("files/a\nb", "changed", unit_of["files/a\nb"]),
        ("files/漢字", "missing", unit_of["files/漢字"]),
    ]
    assert found.num_marked == 3
    broken = {key for key, record in ((one.key, one) for one in state.records()) if record.inputs.startswith("broken:")}
    assert broken == {unit_of[path] for path in ("files/7", "files/a\nb", "files/漢字")}


def test_the_newest_record_of_a_unit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_dask.runtime.markers.packing.MOST_LOOSE", 1)
    state = _finished(tmp_path / "out")
    state.pack()
    _finish(state, "unit-4", "files/new name")
    state.forget(["unit-5"])
    assert verify_output(str(tmp_path / "out")).findings == ()


def _split(out: Path, videos: Path, names: dict[str, list[str]]) -> StageState:
    """The records of split and previews: the clips of each video."""
    state, previews = (StageState(Folder(str(out)), stage) for stage in ("split", "previews"))
    state.claim({"video_dir": str(videos)})
    previews.claim({})
    for name, clips in names.items():
        paths = [f"clips/{clip}.mp4" for clip in clips]
        outputs = {path: state.folder.write_bytes(path, path.encode()) for path in paths}
        rows = [{"id": clip, "relative_path": name} for clip in clips]
        state.write(UnitRecord(digest(name), "v1", outputs, data={"clips": rows}))
        for clip in clips:
            path = preview_path(clip)
            previews.write(UnitRecord(digest(clip), "v1", {path: previews.folder.write_bytes(path, b"preview")}))
    return state


def test_leftovers_of_many_videos_are_all_named(tmp_path: Path) -> None:
    """Half of the videos are gone. One of these shares a clip with another one, so it stays."""
    names = {f"{number} {ODD[number % 5]}.mp4": [f"{number}-{at}" for at in range(3)] for number in range(40)}
    shared, other, *_ = names
    names[shared] = [*names[shared], names[other][0]]
    _split(tmp_path / "out", tmp_path / "videos", names)
    (tmp_path / "videos").mkdir()
    for name in list(names)[1::2]:
        (tmp_path / "videos" / name).touch()
    gone = list(names)[2::2]
    left = prune_output(str(tmp_path / "out"))
    assert (left.videos, left.num_still_listed) == (tuple(sorted(gone)), 1)
    clips = [clip for name in gone for clip in names[name]]
    files = [*(f"clips/{clip}.mp4" for clip in clips), *map(preview_path, clips)]
    markers = [f".curator/split/units/{digest(name)}.json" for name in gone]
    markers += [f".curator/previews/units/{digest(clip)}.json" for clip in clips]
    assert left.files == tuple(sorted(files + markers))
    assert left.num_bytes == sum((tmp_path / "out" / path).stat().st_size for path in left.files)
    prune_output(str(tmp_path / "out"), remove=True)
    assert prune_output(str(tmp_path / "out")).files == ()
    assert (tmp_path / "out" / "clips" / f"{names[shared][0]}.mp4").exists()


def test_where_the_videos_were_is_not_known_nothing_is_gone(tmp_path: Path) -> None:
    state = StageState(Folder(str(tmp_path)), "split")
    state.claim({})
    _finish(state, "unit", "clips/a.mp4")
    with pytest.raises(InputError, match="does not say where its videos are"):
        prune_output(str(tmp_path))
