"""Large files travel in parts, several at a time, and can be seen whole or not at all: on a real server that speaks S3."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from pathlib import Path

import pytest

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import kept_contents, ranged_file, store_folder, transfers
from curator_dask.files.object_store.kept_contents import KeptContents
from curator_dask.files.object_store.ranged_file import RangedFile

LEAST_PART = 5 << 20
"""S3 takes no smaller parts, but for the last one."""
LARGE = hashlib.shake_256(b"large").digest(3 * LEAST_PART + 12_345)


@pytest.fixture
def folder(noting, request, monkeypatch) -> Folder:
    for module in (transfers, ranged_file):
        monkeypatch.setattr(module, "PART_BYTES", LEAST_PART)
    options = {"key": "testing", "secret": "testing", "client_kwargs": {"endpoint_url": noting.url}}
    folder = Folder("s3://bucket/" + hashlib.sha256(request.node.name.encode()).hexdigest()[:16], options)
    if not folder.fs.exists("bucket"):
        folder.fs.mkdir("bucket")
    noting.watch(folder.root)
    return folder


def local_file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "made"
    path.write_bytes(data)
    return path


def write_bytes(folder, tmp_path, data):
    folder.write_bytes("a.bin", data)


def put(folder, tmp_path, data):
    folder.put(local_file(tmp_path, data), "a.bin")


def write_block(folder, tmp_path, data):
    with folder.writing("a.bin") as temporary:
        temporary.write_bytes(data)


def read_bytes(folder):
    return folder.read_bytes("a.bin")


def fetch(folder):
    with folder.local_copy("a.bin") as copy:
        return copy.read_bytes()


def read_stream(folder):
    with folder.open("a.bin") as stream:
        return stream.read()


WRITERS = [write_bytes, put, write_block]
READERS = [read_bytes, fetch, read_stream]


@pytest.mark.parametrize("write", WRITERS)
def test_a_large_file_is_sent_in_parts_that_travel_together(folder, noting, tmp_path, write):
    noting.together = threading.Barrier(4)
    write(folder, tmp_path, LARGE)
    assert noting.met == [True] * 4
    assert noting.methods() == {"POST": 2, "PUT": 4}
    noting.together = None
    assert folder.read_bytes("a.bin") == LARGE


@pytest.mark.parametrize("read", READERS)
def test_a_large_file_is_read_in_parts_that_travel_together(folder, noting, read):
    folder.write_bytes("a.bin", LARGE)
    noting.methods()
    noting.together = threading.Barrier(3)
    assert read(folder) == LARGE
    ranges = [reach for _, _, reach in noting.seen if reach]
    assert len(set(ranges)) == len(ranges) == 4
    assert noting.met == [True] * 3


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_whose_upload_breaks_off_is_not_there_and_leaves_no_parts(folder, noting, tmp_path, write, before):
    if before is not None:
        folder.write_bytes("a.bin", before)
    noting.refused = re.compile("partNumber=3")
    with pytest.raises((InputError, PermissionError), match="refused by the test"):
        write(folder, tmp_path, LARGE)
    assert (folder.read_bytes("a.bin") if folder.exists("a.bin") else None) == before
    listed = folder.fs.call_s3("list_multipart_uploads", Bucket="bucket")
    assert listed.get("Uploads", []) == []
    assert (tmp_path / "made").exists() == (write is put)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("size", [0, 1, LEAST_PART - 1, LEAST_PART, LEAST_PART + 1])
def test_files_of_any_size_come_back(folder, read, size):
    folder.write_bytes("a.bin", LARGE[:size])
    assert read(folder) == LARGE[:size]


def test_a_small_file_costs_one_request(folder, noting, tmp_path):
    folder.write_bytes("a.bin", b"123")
    assert noting.methods() == {"PUT": 1}
    assert read_bytes(folder) == b"123"
    assert noting.methods() == {"GET": 1}
    assert fetch(folder) == b"123"
    assert noting.methods() == {"GET": 1}
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("none.bin")
    assert noting.methods() == {"GET": 1}


@pytest.mark.parametrize("max_depth", [None, 1])
def test_a_folder_that_may_not_be_listed_is_an_error_and_not_empty(folder, noting, max_depth):
    folder.write_bytes("a.bin", b"123")
    noting.refused = re.compile("list-type")
    with pytest.raises(InputError, match="refused by the test"):
        folder.entries(max_depth=max_depth)
    with pytest.raises(InputError, match="refused by the test"):
        folder.sizes(max_depth=max_depth)


def test_a_file_that_is_asked_for_and_an_empty_folder_cost_one_request(folder, noting):
    folder.write_bytes("a.bin", b"123")
    noting.seen.clear()
    assert folder.exists("a.bin")
    assert not folder.exists("none.bin")
    assert noting.methods() == {"HEAD": 2}
    noting.watched = "/bucket"
    assert folder.entries("none") == folder.entries("none", max_depth=1) == []
    assert noting.methods() == {"GET": 2}


def test_a_small_file_that_is_read_here_and_there_is_fetched_once(folder, noting):
    folder.write_bytes("a.bin", LARGE[:1000])
    noting.methods()
    with folder.open("a.bin") as stream:
        for place in (992, 0, 500):
            stream.seek(place)
            assert stream.read(8) == LARGE[place : place + 8]
    assert noting.methods() == {"HEAD": 1, "GET": 1}


def test_an_empty_file_costs_two_requests(folder, noting):
    folder.write_bytes("a.bin", b"")
    noting.methods()
    assert folder.read_bytes("a.bin") == b""
    assert noting.methods() == {"GET": 2}


class TestListed:
    """What was read of an object is not asked for again while its listing tells the same version."""

    @pytest.fixture(autouse=True)
    def nothing_is_kept(self, monkeypatch):
        monkeypatch.setattr(store_folder, "KEPT", KeptContents())

    def test_each_version_is_asked_for_once(self, folder, noting):
        for name in "abc":
            folder.write_bytes(name, name.encode() * 100)
        first = folder.entries()
        noting.methods()
        assert dict(folder.read_listed(first)) == {name: name.encode() * 100 for name in "abc"}
        assert noting.methods() == {"GET": 3}
        assert list(folder.read_listed(first)) == list(folder.read_many(["a", "b", "c"]))
        assert noting.methods() == {"GET": 3}  # those of `read_many`
        folder.write_bytes("b", b"x" * 100)  # as long as before
        folder.remove("c")
        last = folder.entries()
        noting.methods()
        assert dict(folder.read_listed(last)) == {"a": b"a" * 100, "b": b"x" * 100}
        assert noting.methods() == {"GET": 1}

    def test_what_was_replaced_after_the_listing_is_not_taken_for_what_was_listed(self, folder):
        folder.write_bytes("a", b"old")
        before = folder.entries()
        folder.write_bytes("a", b"new")
        assert dict(folder.read_listed(before)) == {"a": b"new"}
        folder.write_bytes("a", b"old")
        assert dict(folder.read_listed(folder.entries())) == {"a": b"old"}

    def test_what_is_gone_is_left_out(self, folder):
        folder.write_bytes("a", b"1")
        before = folder.entries()
        folder.remove("a")
        assert list(folder.read_listed(before)) == []

    def test_little_is_kept(self, folder, noting, monkeypatch):
        monkeypatch.setattr(kept_contents, "MOST_BYTES", 25)
        for name in "abc":
            folder.write_bytes(name, name.encode() * 10)
        entries = folder.entries()
        list(folder.read_listed(entries))
        noting.methods()
        assert [path for path, _ in folder.read_listed(entries[1:])] == ["b", "c"]
        assert noting.methods() == {}
        assert [path for path, _ in folder.read_listed(entries[:1])] == ["a"]
        assert noting.methods() == {"GET": 1}


class TestStream:
    @pytest.fixture
    def stream(self, folder, noting):
        folder.write_bytes("a.bin", LARGE)
        noting.methods()
        with folder.open("a.bin") as stream:
            assert isinstance(stream, RangedFile)
            yield stream

    def test_any_reads_give_the_bytes_of_the_file(self, stream):
        model, numbers = io.BytesIO(LARGE), iter(hashlib.shake_256(b"places").digest(400))
        for _ in range(60):
            place, jump, size = next(numbers) << 16, next(numbers) % 3, next(numbers) ** 2 * 4
            if jump == 0:
                assert stream.seek(place) == model.seek(place)
            elif jump == 1:
                assert stream.seek(-min(size, 9), os.SEEK_END) == model.seek(-min(size, 9), os.SEEK_END)
            assert stream.read(size) == model.read(size)
            assert stream.tell() == model.tell()
        buffer = bytearray(7)
        stream.seek(5)
        assert (stream.readinto(buffer), bytes(buffer)) == (7, LARGE[5:12])
        assert stream.seek(-2, os.SEEK_CUR) == 10
        with pytest.raises(ValueError, match="before the start"):
            stream.seek(-1)

    def test_pieces_here_and_there_fetch_little_more_than_themselves(self, stream, noting):
        for place in (len(LARGE) - 8, 6_000_000, 1_000_000):
            stream.seek(place)
            assert stream.read(8) == LARGE[place : place + 8]
        lengths = [_length(reach) for _, _, reach in noting.seen if reach]
        assert len(lengths) == 3
        assert max(lengths) <= ranged_file.LEAST_BYTES

    def test_a_reader_of_blocks_gets_more_and_more_ahead(self, stream, noting):
        blocks = iter(lambda: stream.read(64 << 10), b"")
        assert b"".join(blocks) == LARGE
        lengths = [_length(reach) for _, _, reach in noting.seen if reach]
        assert sum(lengths) == len(LARGE)
        assert len(lengths) <= 12

    def test_a_file_that_is_replaced_meanwhile_is_no_mixture(self, folder, stream):
        assert stream.read(8) == LARGE[:8]
        folder.write_bytes("a.bin", LARGE[::-1])
        stream.seek(8_000_000)
        with pytest.raises(OSError, match="no longer exists"):
            stream.read(8)

    def test_a_closed_one(self, stream):
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            stream.read(1)


def _length(reach: str) -> int:
    first, last = reach.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1
