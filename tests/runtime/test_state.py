"""What a stage remembers in its output folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import xxhash

from curator_dask.errors import FolderInUseError, InputError
from curator_dask.files.content_hash import Written
from curator_dask.files.folder import Folder
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.runtime.records import Failure, UnitRecord, dump_json, hashes_of, unseal
from curator_dask.runtime.state import StageState
from tests.trees import times

PARAMETERS = {"eps": 0.1, "path": "/in", "nested": {"seed": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


@pytest.fixture
def state(folder: Folder) -> StageState:
    return StageState(folder, "work")


def finish(
    state: StageState, key: str, *outputs: str, inputs: str = "v1", content: bytes = b"12345", **more
) -> UnitRecord:
    """Finish a unit as a worker does: write its outputs, then its marker."""
    sizes = {path: state.folder.write_bytes(path, content) for path in outputs}
    record = UnitRecord(key, inputs, sizes, **more)
    state.write(record)
    return record


def files(folder: Folder) -> list[str]:
    return [entry.path for entry in folder.entries()]


class TestClaim:
    def test_the_same_parameters_may_come_back(self, state):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        before = times(Path(state.folder.root))
        state.claim(dict(reversed(PARAMETERS.items())))
        state.check(PARAMETERS)
        assert times(Path(state.folder.root)) == before

    def test_other_parameters_are_refused_and_named(self, state):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        other = {"eps": 0.2, "path": "/in", "nested": {"seed": 2}, "added": "x" * 500}
        for refuse in (state.claim, state.check):
            with pytest.raises(FolderInUseError) as told:
                refuse(other)
            message = str(told.value)
            assert "eps was 0.1 and is now 0.2" in message
            assert 'nested was {"seed": 1} and is now {"seed": 2}' in message
            assert "added was not given" in message
            assert "path was" not in message
            assert "--overwrite" in message
            assert "'work'" in message
            assert state.folder.url in message
            assert len(message) < 1000

    def test_check_writes_nothing(self, state):
        state.check(PARAMETERS)
        assert not state.folder.exists()

    def test_overwrite_removes_the_recorded_files_and_nothing_else(self, state, folder):
        state.claim(PARAMETERS)
        finish(state, "a", "clips/a.txt", "deep/er/a.txt")
        finish(state, "b", "clips/b.txt")
        state.publish("table.parquet", b"table")
        state.summarise({"n": 2})
        for foreign in ("clips/mine.txt", "notes.md", ".hidden"):
            folder.write_bytes(foreign, b"mine")
        other = StageState(folder, "other")
        other.claim({})
        finish(other, "x", "other.txt")

        state.claim({**PARAMETERS, "eps": 0.2}, overwrite=True)
        assert files(folder) == ["clips/mine.txt", "notes.md", "other.txt"]
        assert not folder.exists("deep")
        assert list(state.records()) == []
        assert state.summary() is None
        assert list(other.done_units()) == ["x"]
        finish(state, "c", "c.txt")
        with pytest.raises(FolderInUseError):
            state.claim(PARAMETERS)

    def test_overwrite_with_the_same_parameters_keeps_the_work(self, state):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        state.claim(PARAMETERS, overwrite=True)
        assert state.done_units() == {"a": "v1"}
        with pytest.raises(FolderInUseError):
            state.claim({})

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"params": 5}', b"\xff\xfe"])
    def test_damaged_parameters_are_refused_until_overwritten(self, state, data):
        finish(state, "a", "a.txt")
        state.folder.write_bytes(state.path("params.json"), data)
        with pytest.raises(FolderInUseError, match=r"params.json is damaged or missing.*verify .* --repair"):
            state.claim(PARAMETERS)
        state.claim(PARAMETERS, overwrite=True)
        state.claim(PARAMETERS)

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"params": {}}', None], ids=["empty", "list", "other", "missing"])
    def test_damaged_parameters_of_a_finished_run_are_restored_by_the_same_command(self, state, data):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        state.summarise({"n": 1})
        path = state.folder.local_path(state.path("params.json"))
        before = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        state.check(PARAMETERS)
        with pytest.raises(FolderInUseError):
            state.claim({**PARAMETERS, "eps": 0.2})
        state.claim(PARAMETERS)
        assert path.read_bytes() == before
        assert state.done_units() == {"a": "v1"}

    def test_a_flipped_bit_never_makes_other_parameters(self, state):
        """Also where the list that holds their hash is damaged too, and nothing else says what they were."""
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        path = state.folder.local_path(state.path("params.json"))
        whole = path.read_bytes()
        for place in range(len(whole)):
            for bit in (1, 4, 32):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
                assert state.held_for() == {}
        with pytest.raises(FolderInUseError, match=r"params.json is damaged or missing.*verify .* --repair"):
            state.claim(PARAMETERS)

    def test_parameters_without_a_seal_stay_as_an_earlier_version_wrote_them(self, state):
        state.claim(PARAMETERS)
        path = state.folder.local_path(state.path("params.json"))
        earlier = dump_json(unseal(path.read_bytes()))
        path.write_bytes(earlier)
        finish(state, "a", "a.txt")
        state.summarise({"n": 1})
        path.write_bytes(earlier.replace(b"0.1", b"0.5"))
        state.claim(PARAMETERS)
        assert path.read_bytes() == earlier
        assert state.parameter("eps") == 0.1

    def test_another_format_is_named(self, state):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        path = state.path("params.json")
        held = unseal(state.folder.read_bytes(path))
        state.folder.write_bytes(path, json.dumps({**held, "format": 0}).encode())
        with pytest.raises(FolderInUseError, match="format 0"):
            state.claim(PARAMETERS)

    def test_a_folder_without_results_is_free(self, state):
        state.claim(PARAMETERS)
        state.write(UnitRecord("broken", "v1", failures=(Failure("work", "a.mp4", "no-video", "m"),)))
        state.summarise({"n": 0})
        state.check({"eps": 0.2})
        assert state.claim({"eps": 0.2}) == ""
        assert state.parameter("eps") == 0.2
        assert list(state.records()) == []

    def test_a_released_folder_is_free_until_the_same_parameters_take_it_again(self, state):
        state.claim(PARAMETERS)
        finish(state, "empty", "empty.json")
        state.release("clips")
        state.check({"eps": 0.2})
        state.claim(PARAMETERS)
        assert list(state.done_units()) == ["empty"]
        with pytest.raises(FolderInUseError):
            state.check({"eps": 0.2})
        state.release("clips")
        state.claim({"eps": 0.2})
        assert list(state.records()) == []

    def test_the_hash_of_released_parameters_is_that_of_their_file(self, state):
        state.claim(PARAMETERS)
        finish(state, "empty", "empty.json")
        state.summarise({"n": 0})
        path = state.path("params.json")
        for change in (lambda: state.release("clips"), lambda: state.claim(PARAMETERS)):
            before = state.folder.read_bytes(path)
            change()
            assert state.folder.read_bytes(path) != before
            assert state.published()[path].content_hash == state.folder.content_hash(path)

    def test_a_folder_with_a_result_is_not_released(self, state):
        state.claim(PARAMETERS)
        state.write(UnitRecord("a", "v1", counts={"clips": 1}))
        state.publish("table.parquet", b"table")
        state.release("clips")
        with pytest.raises(FolderInUseError):
            state.claim({"eps": 0.2})

    def test_a_published_table_is_a_result(self, state):
        state.claim(PARAMETERS)
        state.publish("table.parquet", b"table")
        for refuse in (state.claim, state.check):
            with pytest.raises(FolderInUseError):
                refuse({"eps": 0.2})

    def test_replaceable_parameters_are_replaced_with_a_word(self, state, folder):
        state.claim(PARAMETERS)
        finish(state, "a", "a.txt")
        other = {**PARAMETERS, "eps": 0.2}
        assert state.check(other, replaceable=["eps"]) == "eps was 0.1 and is now 0.2"
        assert files(folder) == ["a.txt"]
        assert state.claim(other, replaceable=["eps"]) == "eps was 0.1 and is now 0.2"
        assert files(folder) == []
        finish(state, "a", "a.txt")
        with pytest.raises(FolderInUseError, match="path was"):
            state.claim({**other, "eps": 0.3, "path": "/else"}, replaceable=["eps"])


class TestMovedFolders:
    """A folder of results may be moved, alone or together with what it was made from."""

    def claimed(self, folder: Path, vectors: Path) -> StageState:
        state = StageState(Folder(str(folder)), "work")
        state.claim({"input_path": str(vectors), "others_path": [str(vectors), None], "name": "x"})
        finish(state, "a", "a.txt")
        return state

    @pytest.mark.parametrize("new_input", ["moved/vectors", "out/vectors"], ids=["with its input", "alone"])
    def test_it_is_recognised(self, tmp_path: Path, new_input: str) -> None:
        before = self.claimed(tmp_path / "out" / "work", tmp_path / "out" / "vectors").fingerprint()
        (tmp_path / "out").rename(tmp_path / "moved")
        state = StageState(Folder(str(tmp_path / "moved" / "work")), "work")
        vectors = str(tmp_path / new_input)
        held = times(tmp_path)
        assert state.claim({"input_path": vectors, "others_path": [vectors, None], "name": "x"}) == ""
        assert state.fingerprint() == before
        assert times(tmp_path) == held
        assert state.recorded_path("input_path") == str(tmp_path / "out" / "vectors")
        (tmp_path / "moved" / "vectors").mkdir()
        assert state.recorded_path("input_path") == str(tmp_path / "moved" / "vectors")

    @pytest.mark.parametrize(
        "identity",
        [
            {"input_path": "{}/moved/others", "others_path": ["{}/moved/vectors", None], "name": "x"},
            {"input_path": "{}/moved/vectors", "others_path": ["{}/moved/vectors"], "name": "x"},
            {"input_path": "{}/moved/vectors", "others_path": ["{}/moved/vectors", None], "name": "y"},
        ],
        ids=["another folder", "fewer folders", "another name"],
    )
    def test_what_differs_is_refused(self, tmp_path: Path, identity: dict[str, object]) -> None:
        self.claimed(tmp_path / "out" / "work", tmp_path / "out" / "vectors")
        (tmp_path / "out").rename(tmp_path / "moved")
        state = StageState(Folder(str(tmp_path / "moved" / "work")), "work")
        wanted = json.loads(json.dumps(identity).replace("{}", str(tmp_path)))
        with pytest.raises(FolderInUseError):
            state.claim(wanted)

    def test_a_record_of_an_earlier_version_counts_by_its_paths_alone(self, tmp_path: Path) -> None:
        state = self.claimed(tmp_path / "out", tmp_path / "vectors")
        held = unseal(state.folder.read_bytes(state.path("params.json")))
        held.pop("relative")
        state.folder.write_bytes(state.path("params.json"), json.dumps(held).encode())
        state.claim(held["params"])
        (tmp_path / "out").rename(tmp_path / "moved")
        moved = StageState(Folder(str(tmp_path / "moved")), "work")
        moved.claim(held["params"])
        with pytest.raises(FolderInUseError):
            moved.claim({**held["params"], "input_path": str(tmp_path / "moved" / "vectors")})

    def test_a_record_that_names_a_file_outside_removes_nothing(self, state, folder):
        outside = Folder(str(Path(folder.root).parent))
        outside.write_bytes("precious.txt", b"x")
        state.claim(PARAMETERS)
        state.write(UnitRecord("a", "v1", {"../precious.txt": 1}))
        with pytest.raises(InputError, match="does not stay inside"):
            state.claim({}, overwrite=True)
        assert outside.exists("precious.txt")


class TestUnits:
    def test_done_with_all_outputs_in_their_size(self, state):
        finish(state, "a", "a/1.txt", "a/2.txt")
        finish(state, "b")
        assert state.done_units() == {"a": "v1", "b": "v1"}

    @pytest.mark.parametrize("harm", ["missing", "shorter", "longer"])
    def test_not_done_with_an_output_missing_or_of_another_size(self, state, harm):
        finish(state, "a", "a/1.txt", "a/2.txt")
        finish(state, "b", "b.txt")
        if harm == "missing":
            state.folder.remove("a/1.txt")
        else:
            state.folder.write_bytes("a/1.txt", b"1" if harm == "shorter" else b"123456789")
        assert state.done_units() == {"b": "v1"}

    @pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"{\x00"])
    def test_a_damaged_marker_is_no_marker(self, state, data, caplog):
        finish(state, "a", "a.txt")
        finish(state, "b", "b.txt")
        state.folder.write_bytes(state.path("units", "a.json"), data)
        assert state.done_units() == {"b": "v1"}
        assert state.record("a") is None
        assert "a.json is damaged" in caplog.text
        finish(state, "a", "a.txt")
        assert state.done_units() == {"a": "v1", "b": "v1"}

    def test_a_newer_version_takes_away_what_only_the_older_one_wrote(self, state, folder):
        finish(state, "a", "clips/1.txt", "clips/2.txt", "old/3.txt")
        finish(state, "a", "clips/2.txt", "clips/4.txt", inputs="v2", content=b"new")
        assert files(folder) == ["clips/2.txt", "clips/4.txt"]
        assert folder.read_bytes("clips/2.txt") == b"new"
        assert state.done_units() == {"a": "v2"}

    def test_forget_removes_outputs_and_markers_of_those_units_only(self, state, folder):
        for key in "abc":
            finish(state, key, f"{key}.txt")
        state.forget(["a", "c", "never-there"])
        assert files(folder) == ["b.txt"]
        assert [record.key for record in state.records()] == ["b"]

    def test_a_file_beside_the_marker_is_an_output_like_others(self, state, folder):
        beside = {key: state.beside_marker(key) for key in "abc"}
        for key, path in beside.items():
            finish(state, key, path, f"{key}.txt")
        assert beside["a"] == ".curator/work/units/a.arrow"
        assert state.done_units() == dict.fromkeys("abc", "v1")
        assert [record.key for record in state.records()] == ["a", "b", "c"]
        folder.remove(beside["b"])
        folder.write_bytes(beside["c"], b"123")
        assert state.done_units() == {"a": "v1"}

    @pytest.mark.parametrize("remove", ["forget", "newer version", "discard"])
    def test_a_file_beside_the_marker_goes_with_it(self, state, folder, remove):
        finish(state, "a", state.beside_marker("a"))
        finish(state, "b", state.beside_marker("b"))
        if remove == "forget":
            state.forget(["a"])
        elif remove == "newer version":
            finish(state, "a", "a.txt", inputs="v2")
        else:
            state.discard()
        left = [] if remove == "discard" else [state.beside_marker("b")]
        found = [entry.path for entry in folder.entries(hidden=True) if entry.path.endswith(".arrow")]
        assert found == left
        assert [key for key in state.done_units() if key == "b"] == (["b"] if left else [])

    def test_a_file_beside_no_marker_is_forgotten_too(self, state, folder):
        folder.write_bytes(state.beside_marker("a"), b"a unit that failed before its marker was written")
        state.forget(["a"])
        assert folder.entries(hidden=True) == []

    def test_records_come_by_key_with_all_they_hold(self, state):
        failure = Failure("work", "a.mp4", "reason", "message")
        records = [
            finish(state, key, f"{key}.txt", counts={"n": 1}, failures=(failure,), data={"rows": [key]})
            for key in ("b", "a", "c")
        ]
        assert list(state.records()) == sorted(records, key=lambda record: record.key)
        assert state.record("b") == records[0]
        assert state.record("d") is None

    def test_the_fingerprint_follows_parameters_and_inputs_not_the_order(self, state, tmp_path):
        other = StageState(Folder(str(tmp_path / "other")), "work")
        for one, keys in ((state, "ab"), (other, "ba")):
            one.claim(PARAMETERS)
            for key in keys:
                finish(one, key)
        assert state.fingerprint() == other.fingerprint()
        finish(other, "a", inputs="v2")
        assert state.fingerprint() != other.fingerprint()


class TestSummary:
    def test_unchanged_files_are_left_alone(self, state):
        finish(state, "a", failures=(Failure("work", "a.mp4", "reason", "message"),))
        state.publish("table.parquet", b"table")
        state.summarise({"n": 1}, {"fit": {"inertia": 0.5}})
        before = times(Path(state.folder.root))
        state.publish("table.parquet", b"table")
        state.summarise({"n": 1}, {"fit": {"inertia": 0.5}})
        assert times(Path(state.folder.root)) == before
        assert state.summary() == {"stage": "work", "counts": {"n": 1}, "fit": {"inertia": 0.5}}
        state.summarise({"n": 2})
        assert state.summary() == {"stage": "work", "counts": {"n": 2}}

    def test_what_a_killed_client_left_is_removed_also_where_no_unit_is_left(self, state, folder):
        state.claim(PARAMETERS)
        state.publish("tables/a.parquet", b"rows")
        left = [f"{at}{TEMPORARY_PREFIX}1" for at in ("", "tables/", ".curator/work/", ".curator/work/units/")]
        others = [f".curator/other/{TEMPORARY_PREFIX}1", f"clips/{TEMPORARY_PREFIX}1"]
        for path in (*left, *others):
            folder.write_bytes(path, b"half")
        state.summarise({})
        assert [path for path in (*left, *others) if folder.exists(path)] == others

    def test_failures_are_those_of_the_markers_or_those_that_are_given(self, state):
        finish(state, "a", failures=(Failure("work", "a.mp4", "marked", "m"),))
        path = state.path("failures.jsonl")
        state.summarise({})
        assert [json.loads(line)["reason"] for line in state.folder.read_bytes(path).splitlines()] == ["marked"]
        state.summarise({}, failures=[Failure("work", "b.mp4", "lost", "m")])
        assert [json.loads(line)["reason"] for line in state.folder.read_bytes(path).splitlines()] == ["lost"]


def test_on_an_object_store(s3):
    state = StageState(Folder(f"{s3.url}/state", s3.storage_options), "work")
    state.claim(PARAMETERS)
    finish(state, "a", "clips/a.txt")
    finish(state, "b", "clips/b.txt", state.beside_marker("b"))
    assert state.done_units() == {"a": "v1", "b": "v1"}
    with pytest.raises(FolderInUseError, match="eps was 0.1"):
        state.claim({**PARAMETERS, "eps": 0.2})
    state.folder.remove("clips/a.txt")
    assert state.done_units() == {"b": "v1"}
    state.claim({}, overwrite=True)
    assert files(state.folder) == []
    assert not state.folder.exists(state.beside_marker("b"))


class TestHashes:
    def test_a_marker_holds_the_hash_of_each_output(self, state):
        finish(state, "a", "x.bin", content=b"12345")
        (state.folder.local_path("y.bin")).write_bytes(b"678")
        state.write(UnitRecord("b", "v1", {"y.bin": 3}))  # by a writer that knows no hash
        expected = {name: xxhash.xxh3_128_hexdigest(data) for name, data in (("x.bin", b"12345"), ("y.bin", b"678"))}
        found = {path: value for record in state.records() for path, value in hashes_of(record.outputs).items()}
        assert found == {name: f"xxh3_128:{digits}" for name, digits in expected.items()}

    def test_files_of_the_whole_stage_are_noted_with_their_hashes(self, state):
        state.claim(PARAMETERS)
        state.publish("table", b"one")
        state.publish("table", b"two!")
        state.summarise({"rows": 1})
        noted = state.published()
        assert noted["table"] == 4
        assert noted.keys() >= {state.path(name) for name in ("params.json", "summary.json", "failures.jsonl")}
        assert all(state.folder.content_hash(path) == value for path, value in hashes_of(noted).items())
        before = times(state.folder.local_path())
        state.publish("table", b"two!")
        state.summarise({"rows": 1})
        assert times(state.folder.local_path()) == before
        state.unpublish("table")
        assert "table" not in state.published()
        assert not state.folder.exists("table")

    def test_the_list_of_an_earlier_version_is_read(self, state):
        state.folder.write_bytes(state.path("files.json"), b'["table"]')
        assert state.published() == {"table": -1}
        state.publish("table", b"one")
        assert state.published() == {"table": 3}

    def test_a_remote_folder_tells_the_same_hash(self, state):
        remote = Folder("memory://hashes")
        local = state.folder
        assert remote.write_bytes("a", b"123").content_hash == local.write_bytes("a", b"123").content_hash
        assert remote.content_hash("a") == local.content_hash("a") == local.write_bytes("a", b"123").content_hash
        assert local.content_hash("a", like="sha256:") == "sha256:" + hashlib.sha256(b"123").hexdigest()

    def test_parameters_whose_hash_an_earlier_version_noted_are_restored(self, state):
        state.claim(PARAMETERS)
        finish(state, "a", "a.bin")
        path = state.path("params.json")
        text = state.folder.read_bytes(path)
        earlier = "blake2b:" + hashlib.blake2b(text, digest_size=16).hexdigest()
        state.note({path: Written(len(text), earlier)})
        assert hashes_of(state.published()) == {path: earlier}
        state.folder.write_bytes(path, text[:-9] + b"x" + text[-8:])
        with pytest.raises(FolderInUseError, match="damaged"):
            state.claim({"eps": 0.2})
        state.claim(PARAMETERS)
        assert state.folder.read_bytes(path) == text

    def test_a_hash_of_a_later_version_is_an_error_that_names_it(self, state):
        state.folder.write_bytes("a", b"123")
        with pytest.raises(ValueError, match="'later:00' is no hash"):
            state.folder.content_hash("a", "later:00")
