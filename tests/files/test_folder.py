"""Folders on a real disk and on a real S3 server: whole writes, complete listings, names of any kind."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX

ODD_NAMES = [
    pytest.param("a b.mp4", id="space"),
    pytest.param("line\nbreak.mp4", id="newline"),
    pytest.param("日本 é.mp4", id="unicode"),
    pytest.param(os.fsdecode(b"raw-\xff\xfe.mp4"), id="not-utf8"),
    pytest.param("-rf.mp4", id="dash"),
    pytest.param("100%.mp4", id="percent"),
    pytest.param("[1]*?.mp4", id="glob-characters"),
    pytest.param("x" * 251 + ".mp4", id="as-long-as-can-be"),
]


class Crash(Exception):
    """Stands for the end of the program at this point."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


def names(folder: Folder, **how: bool) -> list[str]:
    return [entry.path for entry in folder.entries(**how)]


def put(folder: Folder, *paths: str, data: bytes = b"x") -> None:
    for path in paths:
        folder.write_bytes(path, data)


def check_parts_of_a_file(folder: Folder) -> None:
    folder.write_bytes("a.bin", b"0123456789")
    assert folder.read_spans("a.bin", [(8, 10), (0, 3)]) == [b"89", b"012"]
    assert folder.read_spans("a.bin", []) == []
    with pytest.raises(InputError, match=r"a\.bin has been cut short: it ends before byte 11"):
        folder.read_spans("a.bin", [(0, 1), (9, 11)])
    buffer = memoryview(bytearray(3))
    with folder.reading("a.bin", [(8, 10), (2, 6)]) as read:
        assert (read(buffer, 3), bytes(buffer)) == (3, b"345")
        assert (read(buffer, 8), bytes(buffer[:2])) == (2, b"89")


class TestWholeWrites:
    def test_bytes_come_back(self, folder):
        assert folder.write_bytes("a/b.bin", b"123") == 3
        assert folder.read_bytes("a/b.bin") == b"123"
        assert folder.size("a/b.bin") == 3
        with folder.open("a/b.bin") as stream:
            assert stream.read(2) == b"12"

    def test_parts_of_a_file(self, folder):
        check_parts_of_a_file(folder)

    def test_folders_below(self, folder):
        check_folders_below(folder)

    def test_a_crash_while_writing_leaves_nothing(self, folder):
        with pytest.raises(Crash), folder.writing("a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise Crash
        assert names(folder, hidden=True) == []

    def test_a_crash_while_replacing_leaves_the_old_file(self, folder):
        put(folder, "a.bin", data=b"old")
        with pytest.raises(Crash), folder.writing("a.bin") as temporary:
            temporary.write_bytes(b"half of the new")
            raise Crash
        assert folder.read_bytes("a.bin") == b"old"
        assert names(folder, hidden=True) == ["a.bin"]

    def test_an_unfinished_file_cannot_be_seen(self, folder):
        with folder.writing("a.bin") as temporary:
            temporary.write_bytes(b"half")
            assert names(folder) == []
            assert not folder.exists("a.bin")
        assert names(folder) == ["a.bin"]

    def test_a_reader_of_the_old_file_is_not_disturbed(self, folder):
        put(folder, "a.bin", data=b"old")
        with folder.open("a.bin") as stream:
            put(folder, "a.bin", data=b"new")
            assert stream.read() == b"old"
        assert folder.read_bytes("a.bin") == b"new"

    def test_many_writers_of_one_file_leave_one_whole_file(self, folder):
        texts = [bytes([65 + number]) * 100_000 for number in range(4)]

        def write(data: bytes) -> None:
            for _ in range(5):
                folder.write_bytes("a.bin", data)

        threads = [threading.Thread(target=write, args=(data,)) for data in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert folder.read_bytes("a.bin") in texts
        assert names(folder, hidden=True) == ["a.bin"]

    def test_writers_and_a_tidier_of_the_same_folder_do_not_meet(self, folder):
        faults: list[BaseException] = []

        def write_and_remove(number: int) -> None:
            try:
                for _ in range(60):
                    folder.write_bytes(f"deep/er/{number}.bin", b"x")
                    folder.remove(f"deep/er/{number}.bin")
                    with folder.scratch("deep", "er"):
                        pass
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=write_and_remove, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []

    def test_only_one_creates(self, folder):
        assert folder.create_bytes("a/claim.json", b"first")
        assert not folder.create_bytes("a/claim.json", b"second")
        assert folder.read_bytes("a/claim.json") == b"first"
        assert names(folder, hidden=True) == ["a/claim.json"]


class TestPut:
    def test_moves_by_renaming(self, folder):
        with folder.scratch() as scratch:
            local = scratch / "made"
            local.write_bytes(b"12345")
            inode = local.stat().st_ino
            assert folder.put(local, "clips/a.mp4") == 5
            assert not local.exists()
        assert folder.local_path("clips/a.mp4").stat().st_ino == inode
        assert names(folder, hidden=True) == ["clips/a.mp4"]

    def test_moves_across_file_systems(self, folder):
        memory = Path("/dev/shm")
        if not memory.is_dir() or memory.stat().st_dev == Path(folder.root).parent.stat().st_dev:
            pytest.skip("no second file system to move from")
        with tempfile.TemporaryDirectory(dir=memory) as other:
            local = Path(other, "made")
            local.write_bytes(b"12345")
            assert folder.put(local, "clips/a.mp4") == 5
            assert not local.exists()
        assert folder.read_bytes("clips/a.mp4") == b"12345"
        assert names(folder, hidden=True) == ["clips/a.mp4"]

    def test_a_target_that_cannot_be_replaced_keeps_the_source(self, folder, tmp_path):
        put(folder, "taken/inside.txt")
        local = tmp_path / "made"
        local.write_bytes(b"12345")
        with pytest.raises(OSError, match="taken"):
            folder.put(local, "taken")
        assert local.read_bytes() == b"12345"
        assert names(folder, hidden=True) == ["taken/inside.txt"]


class TestListing:
    def test_by_path_with_hidden_ones_left_out(self, folder):
        put(folder, "b.txt", "a/2.txt", "a/1.txt", "a-b.txt", ".hidden", ".dir/x", "a/.x")
        assert names(folder) == ["a-b.txt", "a/1.txt", "a/2.txt", "b.txt"]
        assert names(folder, hidden=True) == sorted([*names(folder), ".hidden", ".dir/x", "a/.x"])

    def test_below_a_hidden_folder_that_is_named(self, folder):
        put(folder, ".curator/split/units/a.json", ".curator/split/units/.b.json")
        assert [entry.path for entry in folder.entries(".curator/split")] == [".curator/split/units/a.json"]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_can_be_written_listed_and_read(self, folder, name):
        put(folder, f"sub/{name}", data=b"123")
        (entry,) = folder.entries()
        assert (entry.path, entry.num_bytes) == (f"sub/{name}", 3)
        assert folder.entry(entry.path) == entry
        with folder.local_copy(entry.path) as local:
            assert local.read_bytes() == b"123"
        folder.remove(entry.path)
        assert names(folder, hidden=True) == []

    def test_the_version_tells_of_a_replacement(self, folder):
        put(folder, "a.bin")
        (before,) = folder.entries()
        os.utime(folder.local_path("a.bin"), ns=(1, 1))
        (after,) = folder.entries()
        assert before.version != after.version == "1"

    def test_a_dangling_link_is_listed(self, folder):
        put(folder, "a.txt")
        os.symlink("nowhere", folder.local_path("link.txt"))
        os.symlink("self.txt", folder.local_path("self.txt"))
        assert folder.entries()[1:] == [Entry("link.txt", 0, "unreadable"), Entry("self.txt", 0, "unreadable")]

    @pytest.mark.timeout(20)
    def test_a_pipe_is_listed_and_reading_it_is_refused(self, folder):
        Path(folder.root).mkdir()
        os.mkfifo(folder.local_path("pipe.mp4"))
        assert [(entry.path, entry.num_bytes) for entry in folder.entries()] == [("pipe.mp4", 0)]
        for read in (folder.read_bytes, folder.open):
            with pytest.raises(InputError, match="not a regular file"):
                read("pipe.mp4")

    def test_links_to_folders_are_followed_once_and_in_no_circle(self, folder, tmp_path):
        other = Folder(str(tmp_path / "other"))
        put(other, "deep/1.txt", "2.txt")
        put(folder, "real/3.txt")
        os.symlink(other.root, folder.local_path("b-link"))
        os.symlink(other.root, folder.local_path("c-link"))
        os.symlink("..", folder.local_path("real/up"))
        os.symlink("real", folder.local_path("a-link"))
        os.symlink(other.root, folder.local_path(".cache"))
        assert names(folder) == ["b-link/2.txt", "b-link/deep/1.txt", "real/3.txt"]

    def test_depth_can_be_limited(self, folder):
        put(folder, "1.txt", "a/2.txt", "a/b/3.txt")
        assert [entry.path for entry in folder.entries(max_depth=1)] == ["1.txt"]
        assert [entry.path for entry in folder.entries(max_depth=2)] == ["1.txt", "a/2.txt"]

    def test_a_folder_that_cannot_be_listed_is_an_error(self, folder):
        # Deeper than a path may be long, which not even root can open by its name.
        part, path, before = "d" * 200, Path(folder.root), Path.cwd()
        path.mkdir()
        try:
            os.chdir(path)
            for _ in range(25):
                os.mkdir(part)
                os.chdir(part)
            with pytest.raises(InputError, match=r"cannot list the folder .*name too long"):
                folder.entries()
        finally:
            os.chdir(before)
            shutil.rmtree(path / part)

    def test_nothing_there_is_an_empty_list(self, folder):
        assert folder.entries() == []
        assert not folder.exists()
        assert folder.size("a") is None
        assert folder.entry("a") is None

    def test_many_files_at_once_in_the_order_given(self, folder):
        for number in range(5):
            put(folder, f"{number}.txt", data=b"%d" % number)
        assert list(folder.read_many(["3.txt", "1.txt"])) == [("3.txt", b"3"), ("1.txt", b"1")]


class TestRemoving:
    def test_tidies_empty_folders_below_the_root_only(self, folder):
        put(folder, "a/b/c.txt", "a/d.txt")
        folder.remove("a/b/c.txt")
        assert not folder.local_path("a/b").exists()
        folder.remove("a/d.txt")
        assert Path(folder.root).is_dir()
        assert list(Path(folder.root).iterdir()) == []

    def test_a_missing_file_is_no_error(self, folder):
        put(folder, "a")
        folder.remove("gone.txt")
        folder.remove("a/below-a-file.txt")
        assert names(folder) == ["a"]

    @pytest.mark.parametrize("path", ["../other.txt", "a/../../other.txt", "/etc/passwd", "a\0b"])
    def test_names_that_lead_outside_are_refused(self, folder, path):
        put(Folder(str(Path(folder.root).parent)), "other.txt")
        for act in (folder.remove, folder.read_bytes, folder.local_path, lambda path: folder.write_bytes(path, b"")):
            with pytest.raises(InputError, match="does not stay inside"):
                act(path)
        assert Path(folder.root).parent.joinpath("other.txt").exists()

    def test_a_sweep_takes_what_killed_writers_left(self, folder):
        nested = folder.below("dataset")
        for one in (folder, nested):
            put(one, ".curator/s/params.json", ".tmp-of-somebody", f"clips/{TEMPORARY_PREFIX}1", "clips/a.mp4")
            put(one, f".curator/s/tmp/{TEMPORARY_PREFIX}2/half.mp4")
        folder.sweep(owned_by=".curator")
        kept = [".curator/s/params.json", ".tmp-of-somebody", "clips/a.mp4"]
        assert [path for path in names(folder, hidden=True) if not path.startswith("dataset/")] == kept
        assert len(names(nested, hidden=True)) == 5
        nested.sweep(owned_by=".curator")
        assert names(nested, hidden=True) == kept


class TestAddresses:
    def test_of_a_local_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert Folder("out").root == str(tmp_path / "out")
        assert Folder("~/out").root == str(tmp_path / "home" / "out")
        assert Folder(f"file://{tmp_path}/out").root == str(tmp_path / "out")
        assert Folder(tmp_path / "out").url == str(tmp_path / "out")
        assert Folder("out/").below("a", "b").url == "out/a/b"

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("", "is empty"),
            ("a\0b", "null byte"),
            ("~no-such-user-here/x", "no-such-user-here"),
            ("gopher://host/x", "gopher"),
            ("sftp://host/x", "paramiko"),
        ],
    )
    def test_that_cannot_be_opened(self, url, told):
        with pytest.raises(ParameterError, match=told):
            Folder(url).exists()

    def test_a_remote_folder_has_no_local_path(self):
        with pytest.raises(InputError, match="not on a local disk"):
            Folder("memory://x").local_path("a")

    def test_travels_and_can_be_a_key(self, tmp_path):
        folder = Folder(str(tmp_path), {"key": "secret"})
        assert pickle.loads(pickle.dumps(folder)) == folder
        assert {folder: 1}[folder] == 1
        assert "secret" not in repr(folder)


class TestPlacesThatCannotBeFolders:
    def test_a_file_is_there(self, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("nowhere")
        for path in ("file", "file/below/it", "link"):
            with pytest.raises(InputError, match=r"cannot be a folder: '.*/(file|link)' is a file or a broken link"):
                Folder(str(tmp_path / path)).check_is_no_file()
        Folder(str(tmp_path / "new" / "deep")).check_is_no_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]

    @pytest.mark.parametrize("path", ["/proc/curated", "{tmp}/file/below"])
    def test_writing_there_is_refused(self, tmp_path, path):
        (tmp_path / "file").touch()
        folder = Folder(path.format(tmp=tmp_path))
        with pytest.raises(InputError, match="cannot write .*choose another folder"):
            folder.write_bytes("a.txt", b"1")
        with pytest.raises(InputError, match="cannot write"), folder.scratch("tmp"):
            pass


class TestFullDisks:
    def test_a_full_one(self, small_disk):
        folder = Folder(str(small_disk("size=64k")))
        folder.write_bytes("first.bin", b"x" * 40_000)
        with pytest.raises(InputError, match=r"cannot write .*second.bin': No space left on device\. Make room"):
            folder.write_bytes("second.bin", b"x" * 40_000)
        with pytest.raises(InputError, match="No space left on device"), folder.scratch() as scratch:
            (scratch / "a").write_bytes(b"x" * 40_000)
        assert names(folder, hidden=True) == ["first.bin"]

    def test_a_read_only_one(self, small_disk):
        small_disk("size=64k")
        folder = Folder(str(small_disk("ro")))
        with pytest.raises(InputError, match=r"cannot write .*a.bin': Read-only file system"):
            folder.write_bytes("a.bin", b"x")


def check_folders_below(folder: Folder) -> None:
    assert folder.subfolders() == []
    assert list(folder.each_entry("clips")) == []
    put(folder, "b/x.mp4", "a/b/x.mp4", ".hidden/x.mp4", "clips/é.mp4", "clips/.part", "clips/in/y.mp4", "file")
    assert folder.subfolders() == ["a", "b", "clips"]
    found = sorted(folder.each_entry("clips"), key=lambda entry: entry.path)
    assert found == folder.entries("clips")
    assert [entry.path for entry in found] == ["clips/in/y.mp4", "clips/é.mp4"]


@pytest.mark.parametrize("most", [None, 7])
def test_a_file_in_many_parts_is_written_whole(folder, monkeypatch, most):
    """Also where the system takes only some bytes at a time, as it may of any write."""
    if most:
        monkeypatch.setattr(os, "writev", lambda descriptor, parts: os.write(descriptor, b"".join(parts)[:most]))
    parts = [bytes([number % 251]) * (number % 4) for number in range(1500)]
    assert folder.write_parts("many.bin", [memoryview(part) for part in parts]) == sum(map(len, parts))
    assert folder.read_bytes("many.bin") == b"".join(parts)
    assert folder.write_parts("none.bin", []) == 0
    assert folder.read_bytes("none.bin") == b""


def test_folders_below(folder):
    check_folders_below(folder)


class TestS3:
    @pytest.fixture
    def folder(self, s3, request) -> Folder:
        return Folder(f"{s3.url}/{request.node.name}", s3.storage_options)

    def test_round_trip(self, folder):
        assert not folder.exists()
        assert folder.entries() == []
        assert folder.write_bytes("a/b.bin", b"123") == 3
        assert folder.exists()
        assert folder.read_bytes("a/b.bin") == b"123"
        assert folder.size("a/b.bin") == 3
        assert folder.size("a/c.bin") is None
        assert folder.root == "curator-tests/test_round_trip"
        with folder.open("a/b.bin") as stream:
            assert stream.read(2) == b"12"

    def test_parts_of_a_file(self, folder):
        check_parts_of_a_file(folder)

    def test_put_moves_and_fetched_copies(self, folder, tmp_path):
        with folder.scratch("somewhere") as scratch:
            local = scratch / "made"
            local.write_bytes(b"12345")
            assert folder.put(local, "clips/a.mp4") == 5
            assert not local.exists()
        with folder.local_copy("clips/a.mp4") as copy:
            assert (copy.read_bytes(), copy.suffix) == (b"12345", ".mp4")
        assert not copy.exists()

    def test_a_crash_while_writing_uploads_nothing(self, folder):
        with pytest.raises(Crash), folder.writing("a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise Crash
        assert folder.entries() == []
        with folder.writing("a.bin") as temporary:
            temporary.write_bytes(b"whole")
        assert folder.read_bytes("a.bin") == b"whole"

    def test_lists_like_a_disk(self, folder):
        put(folder, "b.txt", "a/2.txt", "a-b.txt", ".hidden", ".dir/x", "日本 é%+.txt", data=b"12")
        assert names(folder) == ["a-b.txt", "a/2.txt", "b.txt", "日本 é%+.txt"]
        assert len(names(folder, hidden=True)) == 6
        assert [entry.path for entry in folder.entries(".dir")] == [".dir/x"]
        assert [entry.path for entry in folder.entries(max_depth=1)] == ["a-b.txt", "b.txt", "日本 é%+.txt"]
        entry = folder.entries()[1]
        assert entry.num_bytes == 2
        assert folder.entry("a/2.txt") == entry
        put(folder, "a/2.txt", data=b"34")
        assert folder.entry("a/2.txt") != entry

    def test_sees_what_another_process_wrote_since(self, folder, s3):
        put(folder, "a.txt")
        assert names(folder) == ["a.txt"]
        assert not folder.exists("b.txt")
        # skip_instance_cache: a client of its own, as another process has it
        other = Folder(folder.url, {**s3.storage_options, "skip_instance_cache": True})
        put(other, "b.txt")
        assert folder.exists("b.txt")
        assert folder.size("b.txt") == 1
        assert names(folder) == ["a.txt", "b.txt"]

    def test_keys_that_no_disk_could_have(self, folder):
        fs = folder.fs
        for key in ("sub/", "/lead.mp4", "a//b.mp4"):
            fs.pipe_file(f"{folder.root}/{key}", b"" if key.endswith("/") else b"123")
        found = folder.entries()
        assert [entry.path for entry in found] == ["/lead.mp4", "a//b.mp4"]
        for entry in found:
            assert folder.read_bytes(entry.path) == b"123"

    def test_removes(self, folder):
        put(folder, "a/b.txt", "c.txt")
        folder.remove("a/b.txt")
        folder.remove("a/b.txt")
        assert names(folder) == ["c.txt"]

    def test_many_at_once(self, folder):
        for number in range(7):
            put(folder, f"{number}.txt", data=b"%d" % number)
        paths = [f"{number}.txt" for number in (6, 0, 3)]
        assert list(folder.read_many(paths, at_once=2)) == [("6.txt", b"6"), ("0.txt", b"0"), ("3.txt", b"3")]
        assert list(folder.read_many([])) == []

    @pytest.mark.parametrize("name", ["a[1].txt", "what?.txt", "all*.txt", "a[.txt", "[!a].txt", "plain.txt"])
    def test_many_at_once_by_their_own_names(self, folder, name):
        put(folder, name, data=b"1")
        put(folder, "a1.txt", "whats.txt", "allow.txt", "b.txt", data=b"other")
        assert list(folder.read_many([name, "b.txt"])) == [(name, b"1"), ("b.txt", b"other")]

    def test_many_in_a_folder_whose_name_is_a_pattern(self, s3):
        folder = Folder(f"{s3.url}/run[1]*", s3.storage_options)
        put(folder, "a.txt", "b.txt", data=b"1")
        assert list(folder.read_many(["b.txt", "a.txt"])) == [("b.txt", b"1"), ("a.txt", b"1")]

    def test_a_missing_one_of_many(self, folder):
        put(folder, "a.txt")
        with pytest.raises(FileNotFoundError):
            list(folder.read_many(["a.txt", "b.txt"]))

    def test_a_missing_file(self, folder):
        put(folder, "a.txt")
        with pytest.raises(FileNotFoundError):
            folder.read_bytes("b.txt")
        with pytest.raises(FileNotFoundError), folder.local_copy("b.txt"):
            pass

    def test_a_bucket_that_is_not_there(self, s3):
        folder = Folder("s3://no-such-bucket-here/x", s3.storage_options)
        assert not folder.exists()
        with pytest.raises((InputError, FileNotFoundError), match=r"(?i)bucket"):
            folder.write_bytes("a.txt", b"x")

    def test_a_store_that_does_not_answer(self):
        options = {
            "key": "a", "secret": "b", "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
        }  # fmt: skip
        with pytest.raises(InputError, match=r"cannot work with s3://some/where: .*127\.0\.0\.1:9"):
            Folder("s3://some/where", options).entries()
