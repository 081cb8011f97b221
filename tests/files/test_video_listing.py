"""Which files of a folder, a glob or a URL are listed as videos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import VIDEO_SUFFIXES, VideoChoice, list_videos, source_folder

RAW = os.fsdecode(b"raw-\xff.mp4")


def make(root: Path, *paths: str) -> Folder:
    for path in paths:
        root.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(path).write_bytes(b"123")
    return Folder(str(root))


def paths(folder: Folder, **how: Any) -> list[str]:
    return [video.relative_path for video in list_videos(folder, VideoChoice(**how)).videos]


def test_all_videos_below_a_folder_in_path_order(tmp_path):
    names = [f"{number:02}/clip{suffix}" for number, suffix in enumerate(VIDEO_SUFFIXES)]
    folder = make(
        tmp_path, *reversed(names), "B.MP4", "a.mp4", "notes.txt", ".hidden.mp4", "._a.mp4", ".dir/b.mp4", RAW
    )
    listing = list_videos(folder)
    assert [video.relative_path for video in listing.videos] == [*names, "B.MP4", "a.mp4", RAW]
    assert listing.videos[0].path == str(tmp_path / "00" / "clip.mp4")
    assert listing.videos[0].num_bytes == 3
    assert listing.videos[0].version == str((tmp_path / "00" / "clip.mp4").stat().st_mtime_ns)
    assert listing.folder == folder
    assert listing.left_out == {"no-video": {".txt": 1}, "hidden": {".mp4": 2, "folder": 1}}


def test_what_cannot_be_a_video_is_listed_to_be_recorded(tmp_path):
    folder = make(tmp_path, "a.mp4")
    (tmp_path / "empty.mp4").touch()
    os.symlink("nowhere", tmp_path / "link.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert paths(folder) == ["a.mp4", "empty.mp4", "link.mp4", "pipe.mp4"]


@pytest.mark.parametrize(
    ("limit", "kept", "beyond"),
    [(None, ["a.mp4", "b.mp4", "c.mp4"], 0), (0, ["a.mp4", "b.mp4", "c.mp4"], 0), (2, ["a.mp4", "b.mp4"], 1),
     (5, ["a.mp4", "b.mp4", "c.mp4"], 0)],
)  # fmt: skip
def test_the_first_videos_only(tmp_path, limit, kept, beyond):
    listing = list_videos(make(tmp_path, "c.mp4", "a.mp4", "b.mp4"), VideoChoice(limit=limit))
    assert [video.relative_path for video in listing.videos] == kept
    assert listing.left_out == ({"beyond-limit": {".mp4": beyond}} if beyond else {})
    assert listing.counts == {
        "files_found": 3, "files_left_out": beyond, "videos_found": 3, "videos_skipped": beyond
    }  # fmt: skip


def test_a_negative_limit(tmp_path):
    with pytest.raises(ParameterError, match=r"video_limit \(-1\)"):
        VideoChoice(limit=-1)


@pytest.mark.parametrize("name", ["one.mp4", ".hidden.mp4", "we[i]rd*.mp4", "a b\n.mp4", RAW])
def test_one_file(tmp_path, name):
    make(tmp_path, name, "other.mp4", "we1rd1.mp4")
    folder = Folder(str(tmp_path / name))
    listing = list_videos(folder)
    assert [video.path for video in listing.videos] == [str(tmp_path / name)]
    assert [video.relative_path for video in listing.videos] == [name]
    assert listing.folder == source_folder(folder) == Folder(str(tmp_path))


def test_one_file_by_its_bare_name(tmp_path, monkeypatch):
    make(tmp_path, "one.mp4")
    monkeypatch.chdir(tmp_path)
    assert [video.path for video in list_videos(Folder("one.mp4")).videos] == [str(tmp_path / "one.mp4")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.mp4", ["a.mp4", "b.mp4"]),
        ("[!a].mp4", ["b.mp4"]),
        ("?.m*", ["a.mp4", "b.mp4", "c.mkv"]),
        ("*/*.mp4", ["x/d.mp4", "y/e.mp4"]),
        ("**/*.mp4", ["a.mp4", "b.mp4", "x/d.mp4", "x/deep/f.mp4", "y/e.mp4"]),
        ("**/d*/*", ["x/deep/f.mp4"]),
        ("x/*.mp4", ["d.mp4"]),
        ("x/**", ["d.mp4", "deep/f.mp4"]),
    ],
)
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_globs(tmp_path, s3, pattern, found, where):
    names = ("a.mp4", "b.mp4", "c.mkv", "x/d.mp4", "x/deep/f.mp4", "y/e.mp4", ".z/g.mp4")
    if where == "disk":
        make(tmp_path, *names)
        folder = Folder(f"{tmp_path}/{pattern}")
    else:
        base = Folder(f"{s3.url}/globs", s3.storage_options)
        for name in names:
            if not base.exists(name):
                base.write_bytes(name, b"123")
        folder = Folder(f"{base.url}/{pattern}", s3.storage_options)
    assert paths(folder) == found
    assert source_folder(folder).url.endswith("/x") == pattern.startswith("x/")


def test_a_glob_looks_no_deeper_than_it_can_match(tmp_path):
    make(tmp_path, "a.mp4", "deep/b.mp4")
    os.symlink("/proc/self/root/proc", tmp_path / "proc")  # nobody wants to list this
    assert paths(Folder(f"{tmp_path}/*.mp4")) == ["a.mp4"]


def test_on_an_object_store(s3):
    base = Folder(f"{s3.url}/videos", s3.storage_options)
    for name in ("b/2.mp4", "1.MOV", "notes.txt"):
        base.write_bytes(name, b"123")
    listing = list_videos(base)
    assert [(video.path, video.num_bytes) for video in listing.videos] == [
        ("curator-tests/videos/1.MOV", 3), ("curator-tests/videos/b/2.mp4", 3)
    ]  # fmt: skip
    assert all(video.version for video in listing.videos)
    one = Folder(f"{base.url}/b/2.mp4", s3.storage_options)
    assert paths(one) == ["2.mp4"]
    assert list_videos(one).videos[0].path == listing.videos[1].path


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("missing", "does not exist"),
        ("missing.mp4", "does not exist"),
        ("missing/*.mp4", "matches no file"),
        ("empty", "is empty"),
        ("texts", r"of 2 files in .*, 2 are no videos by their endings: \.txt 2\. Videos end with \.mp4"),
        ("texts/1.txt", r"of 1 file in "),
    ],
)
def test_nothing_found_says_why(tmp_path, url, told):
    (tmp_path / "empty").mkdir()
    make(tmp_path / "texts", "1.txt", "2.txt")
    with pytest.raises(InputError, match=told):
        list_videos(Folder(f"{tmp_path}/{url}"))


def test_a_glob_cannot_stand_for_a_bucket(s3):
    with pytest.raises(ParameterError, match="name the bucket"):
        list_videos(Folder("s3://*/a.mp4", s3.storage_options))
