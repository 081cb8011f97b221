"""Objects are listed without the driver's long way: the same ones as the driver lists, whatever their names and numbers."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.object_store import listing
from curator_dask.files.object_store.key_ranges import Range, cut
from curator_dask.files.object_store.page import NotUnderstoodError, Page, parsed

ODD = (
    "a b.txt", "a+b", "a%20b", "100%", "a&b<c>'\"", "é/ü.mp4", "日本/語.mp4", "😀", "e\u0301", "tab\tb", "x?y#z", "*[a]",
    "..x", ".hidden/x", "sub/.hidden", "sub//two", "/first", "ends/", "sub/ends/", "sub/a", "sub/b", "sub.txt", "sub0",
    "~tilde", "A", "Z/z", "a\\b",
)  # fmt: skip


@pytest.fixture
def fill(s3, tmp_path):
    """Puts objects with these names, of 0 to 4 bytes, into a folder of their own, and gives that."""
    made = []

    def fill(names) -> Folder:
        from moto.s3.models import s3_backends

        folder = Folder(f"{s3.url}/{tmp_path.name}-{len(made)}", s3.storage_options)
        made.append(folder)
        bucket, key, _ = folder.fs.split_path(folder.root)
        store = s3_backends["123456789012"][
            "global"
        ]  # the server runs in this process; to put by requests takes minutes
        for number, name in enumerate(names):
            store.put_object(bucket, f"{key}/{name}", b"1234"[: number % 5])
        return folder

    yield fill
    for folder in made:
        if folder.fs.exists(folder.root):
            folder.fs.rm(folder.root, recursive=True)


def through_driver(folder: Folder, path="", max_depth=None):
    start = folder.join(path) if path else folder.root
    return sorted(listing._from_driver(folder.fs, start, max_depth))


def listed(folder: Folder, path="", max_depth=None):
    return sorted(listing._from_pages(folder.fs, folder.join(path) if path else folder.root, max_depth))


def plain(found):
    """Without what marks folders; both ways leave it out later."""
    return [one for one in found if one[0] and not one[0].endswith("/")]


@pytest.mark.parametrize("path", ["", "sub", "none", "é", ".hidden", "ends"])
def test_odd_names_are_those_of_the_driver(fill, path):
    folder = fill(ODD)
    assert listed(folder, path) == through_driver(folder, path)
    assert plain(listed(folder, path, 1)) == plain(through_driver(folder, path, 1))
    if not path:
        assert [name for name, *_ in listed(folder)] == sorted(ODD)


def test_a_folder_beside_others_with_longer_names(fill):
    folder = fill(["sub/a", "sub.txt", "sub0/b", "sub"])
    assert [name for name, *_ in listed(folder, "sub")] == ["a"]
    assert folder.sizes("sub") == {"sub/a": 0}
    assert [entry.path for entry in folder.entries()] == ["sub", "sub.txt", "sub/a", "sub0/b"]


@pytest.mark.parametrize("num", [0, 1000, 1001, 2001])
def test_any_number_of_pages(fill, num, monkeypatch):
    monkeypatch.setattr(listing, "PAGES_ALONE", 1)
    folder = fill([f"deep/{number:04x}" for number in range(num)])
    assert listed(folder) == through_driver(folder)
    assert len(listed(folder, "deep", 1)) == num
    assert len(folder.sizes("deep")) == num
    sizes = folder.sizes()
    assert sizes == {entry.path: entry.num_bytes for entry in folder.entries()}
    assert sum(sizes.values()) == sum(number % 5 for number in range(num))


def test_versions_are_those_of_the_driver_and_replaced_objects_count_once(s3, fill):
    fs = Folder(s3.url, s3.storage_options).fs
    fs.call_s3("create_bucket", Bucket="with-versions")
    fs.call_s3("put_bucket_versioning", Bucket="with-versions", VersioningConfiguration={"Status": "Enabled"})
    folder = Folder("s3://with-versions", s3.storage_options)
    for text in (b"old", b"newer"):
        for name in ("a", "sub/b", "gone"):
            folder.write_bytes(name, text)
    folder.remove("gone")
    assert [(name, num_bytes) for name, num_bytes, _ in listed(folder)] == [("a", 5), ("sub/b", 5)]
    assert listed(folder) == through_driver(folder)
    aware = Folder("s3://with-versions", {**s3.storage_options, "version_aware": True})
    assert aware.sizes() == folder.sizes()


def test_other_stores_and_depths_are_listed_by_their_driver():
    folder = Folder("memory://listing/place")
    for name in ("a", "sub/b", "sub/deep/c"):
        folder.write_bytes(name, b"123")
    assert folder.sizes() == {"a": 3, "sub/b": 3, "sub/deep/c": 3}
    assert [entry.path for entry in folder.entries(max_depth=2)] == ["a", "sub/b"]
    folder.fs.rm("/listing", recursive=True)


def test_a_bucket_that_is_not_there(s3):
    folder = Folder("s3://no-such-bucket/x", s3.storage_options)
    for ask in (
        folder.entries,
        folder.sizes,
        lambda: list(folder.each_entry("y")),
        lambda: folder.entries(max_depth=1),
    ):
        with pytest.raises(InputError, match=r"cannot work with s3://no-such-bucket/x: .*does not exist"):
            ask()


NO_ETAG = b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
CUT_OFF = b"<ListBucketResult><Contents><Key>a</Key>"
OTHER = b"<Error><Code>SlowDown</Code></Error>"
NO_TOKEN = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize("body", [NO_ETAG, CUT_OFF, OTHER, NO_TOKEN, b""])
def test_an_answer_of_another_form_is_left_to_the_driver(body):
    assert parsed(body) is None


def test_an_answer_in_any_namespace_and_coding():
    item = "<Contents><Key>a%2Bb+c%0A</Key><Size>7</Size><ETag>&quot;x&quot;</ETag></Contents>"
    text = f"<ListBucketResult{{}}>{{}}{item}</ListBucketResult>"
    coded = text.format(' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', "<EncodingType>url</EncodingType>")
    assert parsed(coded.encode()) == Page(["a+b c\n"], [7], ['"x"'], "")
    assert parsed(text.format("", "").encode()) == Page(["a%2Bb+c%0A"], [7], ['"x"'], "")


class TestRanges:
    """Keys that are listed from several places at a time, against a list of keys that stands for a store."""

    @given(
        keys=st.sets(st.text("aAz09/~é\x1f\U0001f600", min_size=1, max_size=6), max_size=60),
        num_in_page=st.integers(1, 7),
        prefix=st.sampled_from(["", "out/"]),
    )
    @settings(max_examples=60, deadline=None)
    def test_each_key_is_found_once(self, keys, num_in_page, prefix):
        held = sorted(prefix + key for key in keys)

        async def page_of(fs, bucket, prefix, StartAfter="", ContinuationToken=""):
            rest = [key for key in held if key > (StartAfter or ContinuationToken)]
            page = rest[:num_in_page]
            return Page(page, [1] * len(page), ["e"] * len(page), page[-1] if len(rest) > num_in_page else "")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listing, "page_of", page_of)
            patch.setattr(listing, "PAGES_ALONE", 1)
            pages = asyncio.run(listing._pages(None, "bucket", prefix))
        assert sorted(key for page in pages for key in page.keys) == held

    @pytest.mark.parametrize("after", ["", "m", "out/3", "~~", "é", "a\x7f\x7f"])
    def test_ranges_that_are_cut_follow_each_other(self, after):
        ranges = cut([Range(after, None, 0)], 16)
        assert [one.after for one in ranges[1:]] == [one.until for one in ranges[:-1]]
        assert (ranges[0].after, ranges[-1].until) == (after, None)
        assert all(one.until is None or one.after < one.until for one in ranges)
        assert len(ranges) == 16

    def test_a_store_that_begins_elsewhere_is_left_to_the_driver(self):
        with pytest.raises(NotUnderstoodError, match="begin"):
            Range("m", None, 0).part_of(Page(["a"], [1], ["e"], ""))
        with pytest.raises(NotUnderstoodError, match="empty page"):
            Range("m", None, 0).rest(Page([], [], [], "more"))
