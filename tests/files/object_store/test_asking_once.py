"""Within a stage, the client asks a store once, and what it remembers is what the store would tell: on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.files.folder import Folder
from curator_dask.files.object_store import asking_once as memory
from curator_dask.files.object_store import look
from curator_dask.files.object_store import seen as seen_files
from curator_dask.files.object_store.asking_once import asking_afresh, asking_once, holding_folder, workers_wrote
from curator_dask.files.object_store.kept_contents import KeptContents
from curator_dask.files.object_store.seen import Found, Listing, Seen

NAMES = ("a", "sub/a", "sub/b", "sub/deep/a", "sub.txt", "other/a")
FOLDERS = ("", "sub", "sub/deep", "other", "none")


@pytest.fixture
def folder(noting, place) -> Folder:
    folder = place("once")
    for name in NAMES:
        folder.write_bytes(name, name.encode())
    noting.seen.clear()
    return folder


def answers(folder: Folder) -> dict[str, object]:
    """All that may be asked of a folder."""
    found: dict[str, object] = {"folders": folder.subfolders(), "there": folder.exists(), "file": folder.is_file()}
    for path in FOLDERS:
        found[f"{path} deep"] = folder.entries(path)
        found[f"{path} flat"] = folder.entries(path, max_depth=1)
        found[f"{path} sizes"] = folder.sizes(path)
    for name in (*NAMES, "none", "sub"):
        found[name] = folder.exists(name), folder.size(name), folder.entry(name)
    found["texts"] = [text_of(folder, name) for name in (*NAMES, "none")]
    return found


def text_of(folder: Folder, name: str) -> bytes | None:
    try:
        with folder.open(name) as stream:
            assert stream.read() == folder.read_bytes(name)
        return folder.read_bytes(name)
    except FileNotFoundError:
        return None


def test_one_listing_and_one_read_of_each_file_answer_all(folder, noting, monkeypatch):
    monkeypatch.setattr(look, "KEPT", KeptContents())
    expected = answers(folder)
    noting.seen.clear()
    with asking_once():
        assert answers(folder) == expected
        assert noting.methods() == {"GET": 1 + len(NAMES), "HEAD": 1}  # HEAD: whether the folder is a file
        assert answers(folder) == expected
        assert noting.methods() == {}
    folder.exists("a")
    assert noting.methods() == {"HEAD": 1}


def test_a_folder_of_more_than_one_answer_costs_one_more_request(place, noting, fill):
    folder = place("long")
    fill(folder, [f"many/{number:04}" for number in range(1001)] + ["few/a", "few/b"])
    with asking_once():
        for _ in range(2):
            assert sorted(folder.sizes("few")) == ["few/a", "few/b"]
            assert folder.exists("few/a")
            assert not folder.exists("few/c")
        assert noting.methods() == {"GET": 2}
        for _ in range(2):
            assert len(folder.sizes("many")) == 1001
        assert noting.methods() == {"GET": 2}  # its two pages


def test_a_listing_that_is_too_long_is_not_kept(place, noting, fill, monkeypatch):
    monkeypatch.setattr(seen_files, "MOST_OBJECTS", 3)
    monkeypatch.setattr(look, "MOST_OBJECTS", 3)
    folder = place("too-long")
    fill(folder, list("abcd"))
    with asking_once():
        for _ in range(2):
            assert len(folder.entries()) == 4
    assert noting.methods() == {"GET": 2}


class TestChanges:
    """What is remembered, against what the store tells: whoever writes, and whatever was asked before."""

    @pytest.mark.parametrize("held", [True, False])
    def test_what_workers_wrote_is_seen_when_a_result_has_come(self, folder, held):
        with asking_once(), holding_folder(folder.root) if held else nullcontext():
            before = answers(folder)
            in_another_process(folder, "sub/new", b"1")
            in_another_process(folder, "sub/a", None)
            in_another_process(folder, "other/a", b"longer")
            assert answers(folder) == before
            workers_wrote()
            after = answers(folder)
            with asking_afresh():
                assert after == answers(folder) != before

    def test_what_this_process_wrote_is_known(self, folder, noting):
        with asking_once(), holding_folder(folder.root):
            folder.entries()
            folder.write_bytes("sub/a", b"123")
            noting.seen.clear()
            assert folder.read_bytes("sub/a") == b"123"
            assert folder.size("sub/a") == 3
            assert folder.exists("sub/a")
            assert folder.exists("sub/b")
            assert [entry.path for entry in folder.entries("sub/deep")] == ["sub/deep/a"]
            assert noting.methods() == {}
            with_version = folder.entry("sub/a")
            assert noting.methods() == {"HEAD": 1}
            assert with_version in folder.entries("sub")

    def test_without_a_lock_the_file_is_read_again(self, folder, noting):
        with asking_once():
            folder.write_bytes("sub/a", b"123")
            elsewhere(folder).write_bytes("sub/a", b"other")
            assert folder.read_bytes("sub/a") == b"other"

    def test_a_lock_that_was_taken_shows_what_was_written_before(self, folder):
        with asking_once():
            assert not folder.exists("new")
            in_another_process(folder, "new", b"1")
            assert not folder.exists("new")
            with holding_folder(folder.root):
                assert folder.exists("new")

    def test_what_other_runs_write_is_seen_as_it_was(self, folder, noting):
        """Inputs are those of one moment, and results of workers do not change that."""
        with asking_once(), holding_folder(f"{folder.root}/sub"):
            before = folder.entries("other")
            in_another_process(folder, "other/new", b"1")
            in_another_process(folder, "sub/new", b"1")
            noting.seen.clear()
            workers_wrote()
            assert folder.entries("other") == before
            assert noting.methods() == {}
            assert folder.exists("sub/new")

    def test_a_file_that_is_gone_shows_that_others_are_at_work(self, folder):
        with asking_once():
            folder.write_bytes("sub/a", b"not read before")
            listed = folder.entries("sub")
            in_another_process(folder, "sub/a", None)
            in_another_process(folder, "sub/joined", b"1")
            assert not folder.exists("sub/joined")
            assert list(folder.read_listed(listed[:1])) == []
            assert folder.exists("sub/joined")

    def test_other_threads_ask_for_themselves(self, folder):
        found: list[bool] = []
        with asking_once():
            assert not folder.exists("new")
            in_another_process(folder, "new", b"1")
            thread = threading.Thread(target=lambda: found.append(folder.exists("new")))
            thread.start()
            thread.join()
            assert not folder.exists("new")
        assert found == [True]


class TestSeen:
    """What is remembered, against a dictionary that stands for the store."""

    PATHS = tuple(f"bucket/top/{name}" for name in (*NAMES, "sub/deep/er/a"))
    PLACES = tuple(f"bucket/top/{name}".rstrip("/") for name in FOLDERS)

    @settings(max_examples=60)
    @given(data=st.data())
    def test_nothing_stale_is_told(self, data):
        store = dict.fromkeys(data.draw(st.sets(st.sampled_from(self.PATHS))), (1, "first"))
        seen, held = Seen(), data.draw(st.sampled_from([(), ("bucket/top/sub",), ("bucket/top",)]))
        for number in range(data.draw(st.integers(0, 6))):
            what, path = data.draw(st.sampled_from("wrkls")), data.draw(st.sampled_from(self.PATHS))
            if what == "w":  # this process writes
                store[path] = (2, str(number))
                seen.change(path, data.draw(st.sampled_from([None, b"12"])))
            elif what == "r":
                store.pop(path, None)
                seen.change(path)
            elif what == "k" and path.startswith(tuple(f"{folder}/" for folder in held) or "bucket"):  # a worker writes
                store[path] = (3, str(number))
                seen.forget_below(held) if held else seen.forget()
            elif what == "l":
                place, deep = data.draw(st.sampled_from(self.PLACES)), data.draw(st.booleans())
                seen.keep(seen.moment, Listing("s3", place, deep, below(store, place, deep)))
            else:
                seen.keep_object(seen.moment, "s3", path, store.get(path))
        for place in self.PLACES:
            for deep in (True, False):
                assert seen.listing("s3", place, deep=deep) in (None, below(store, place, deep))
        for path in self.PATHS:
            is_known, found = seen.object("s3", path)
            assert not is_known or found == store.get(path) or (found and found[1] == "" and found[0] == store[path][0])
            assert seen.object("another store", path)[0] == (seen.written(path) is not None)

    def test_much_is_known(self):
        """A memory that forgets too much would pass the other test."""
        store = dict.fromkeys(self.PATHS, (1, "first"))
        seen = Seen()
        seen.keep(seen.moment, Listing("s3", "bucket/top", True, below(store, "bucket/top", deep=True)))
        seen.change("bucket/top/sub/a")
        seen.forget_below(["bucket/top/other"])
        known = {path for path in self.PATHS if seen.object("s3", path)[0]}
        assert known == {*self.PATHS} - {"bucket/top/sub/a", "bucket/top/other/a"}
        flat = {place for place in self.PLACES if seen.listing("s3", place, deep=False) is not None}
        assert flat == {*self.PLACES} - {"bucket/top/sub", "bucket/top/other"}
        deep = {place for place in self.PLACES if seen.listing("s3", place, deep=True) is not None}
        assert deep == {"bucket/top/sub/deep", "bucket/top/none"}


def below(store: dict[str, Found], place: str, deep: bool) -> dict[str, Found]:
    found = {path[len(place) + 1 :]: one for path, one in store.items() if path.startswith(f"{place}/")}
    return {name: one for name, one in found.items() if deep or "/" not in name}


def test_a_listing_from_before_a_change_is_not_kept():
    seen = Seen()
    moment = seen.moment
    seen.change("bucket/x/a")
    seen.keep(moment, Listing("s3", "bucket/x", True, {}))
    seen.keep_object(moment, "s3", "bucket/x/a", None)
    assert seen.listing("s3", "bucket/x", deep=True) is None
    assert seen.object("s3", "bucket/x/a") == (False, None)


def test_little_of_what_was_written_is_kept(monkeypatch):
    monkeypatch.setattr(seen_files, "MOST_WRITTEN_BYTES", 10)
    seen = Seen()
    for name in "abc":
        seen.change(name, b"1234")
    assert [seen.written(name) for name in "abc"] == [None, None, b"1234"]


def in_another_process(folder: Folder, name: str, data: bytes | None) -> None:
    """Write or remove a file as another process would, of which this one hears nothing."""
    with hidden_from_memory():
        if data is None:
            folder.remove(name)
        else:
            folder.write_bytes(name, data)


@contextmanager
def hidden_from_memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_ALL", [])
        yield


def elsewhere(folder: Folder) -> Folder:
    """The same folder, with a connection of its own."""
    return Folder(folder.url, {**folder.storage_options, "default_block_size": 5 << 20})
