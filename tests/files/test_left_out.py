"""Which files of the input are left out, and that each of them is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.globs import chooses, matches, may_match_below
from curator_dask.files.left_out import count_endings, describe_left_out, num_left_out
from curator_dask.files.video_listing import VideoChoice, VideoListing, list_videos

TREE = (
    "a.mp4", "B.MTS", "day1/c.mov", "day1/cam/d.mkv", "day2/e.mp4", "notes.txt", "day1/cover.JPG", "day2/f.jpg",
    "README", ".g.mp4", ".trash/h.mp4", ".trash/i.txt",
)  # fmt: skip
VIDEOS = ["B.MTS", "a.mp4", "day1/c.mov", "day1/cam/d.mkv", "day2/e.mp4"]
NO_VIDEOS = {".jpg": 2, ".txt": 1, "no ending": 1}
HIDDEN = {".mp4": 1, "folder": 1}


@pytest.fixture(params=["disk", "s3"])
def tree(request, tmp_path, s3) -> Folder:
    """The same files on a disk and on an object store."""
    folder = (
        Folder(str(tmp_path / "in"))
        if request.param == "disk"
        else Folder(f"{s3.url}/{tmp_path.name}", s3.storage_options)
    )
    for path in TREE:
        if not folder.exists(path):
            folder.write_bytes(path, b"123")
    return folder


def shown(listing: VideoListing) -> list[str]:
    return [video.relative_path for video in listing.videos]


def test_all_that_is_left_out_is_counted_by_reason(tree):
    listing = list_videos(tree)
    assert shown(listing) == VIDEOS
    assert listing.left_out == {"no-video": NO_VIDEOS, "hidden": HIDDEN}
    assert listing.counts["files_found"] == len(VIDEOS) + 6
    assert describe_left_out(listing.left_out) == [
        "4 are no videos by their endings: .jpg 2, .txt 1, no ending 1",
        "2 have a hidden name: .mp4 1, folder 1",
    ]


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        ("*.mp4", (), ["a.mp4", "day2/e.mp4"]),
        (["*.mov", "*.mkv"], (), ["day1/c.mov", "day1/cam/d.mkv"]),
        ("day1", (), ["day1/c.mov", "day1/cam/d.mkv"]),
        ("day1/", "cam", ["day1/c.mov"]),
        ("day1/*.mov", None, ["day1/c.mov"]),
        ("**/d.*", (), ["day1/cam/d.mkv"]),
        ((), ["day?", "*.MTS"], ["a.mp4"]),
        ((), "day1/cam/", ["B.MTS", "a.mp4", "day1/c.mov", "day2/e.mp4"]),
        ((), "cam/d.mkv", VIDEOS),  # with a slash, a glob begins where the paths do
    ],
)
def test_globs_choose(tree, include, exclude, chosen):
    listing = list_videos(tree, VideoChoice(include, exclude))
    assert shown(listing) == chosen
    assert sum(listing.left_out.get("excluded", {}).values()) == len(VIDEOS) - len(chosen)
    assert listing.counts["files_found"] == len(TREE) - 1  # a hidden folder is one name


def test_the_limit_counts_what_the_globs_chose(tree):
    listing = list_videos(tree, VideoChoice("*.m*", "a.*", limit=2))
    assert shown(listing) == ["day1/c.mov", "day1/cam/d.mkv"]
    assert listing.left_out["excluded"] == {".mp4": 1, ".mts": 1}
    assert listing.left_out["beyond-limit"] == {".mp4": 1}
    assert listing.counts["videos_found"] == 3


def test_a_glob_as_input_counts_only_what_it_stands_for(tree):
    listing = list_videos(Folder(f"{tree.url}/day1/*", tree.storage_options))
    assert shown(listing) == ["c.mov"]
    assert listing.left_out == {"no-video": {".jpg": 1}}


@pytest.mark.parametrize("output", ["out", "day1/cam"])
def test_an_output_inside_the_input_is_left_out_and_said(tree, output):
    folder = tree.below(output)
    first = list_videos(tree, VideoChoice(output=folder))
    for path in ("clips/1.mp4", "run.json", ".curator/split/params.json"):
        folder.write_bytes(path, b"1")
    second = list_videos(tree, VideoChoice(output=folder))
    assert second == first  # what is said must not change with each run
    assert second.left_out["output"] == {}
    assert shown(second) == [path for path in VIDEOS if not path.startswith(output)]
    assert "the output folder lies in" in describe_left_out(second.left_out)[-1]


def test_the_input_as_output_keeps_what_no_stage_wrote(tree):
    for path in ("clips/1.mp4", "dataset/train/0.tar", ".curator/split/params.json", "pdqf_embd_parquet/1.parquet"):
        tree.write_bytes(path, b"1")
    listing = list_videos(tree, VideoChoice(output=tree))
    assert shown(listing) == VIDEOS
    assert listing.left_out == {"no-video": NO_VIDEOS, "hidden": HIDDEN, "output": {}}
    clips = list_videos(tree, VideoChoice(output=tree, lists_clips=True))
    assert "clips/1.mp4" in shown(clips)
    with pytest.raises(InputError, match="the output folder lies in"):
        list_videos(tree.below("clips"), VideoChoice(output=tree))


def test_the_output_beside_the_input_or_on_another_storage_says_nothing(tmp_path, tree):
    for output in (Folder(str(tmp_path / "out")), Folder("s3://elsewhere/out"), Folder(f"{tree.url}-out")):
        assert "output" not in list_videos(tree, VideoChoice(output=output)).left_out


@pytest.fixture
def linked(tmp_path) -> Path:
    """A folder with links that lead out of it, and links that do not."""
    inside, outside = tmp_path / "in", tmp_path / "outside"
    for path in (inside / "a.mp4", inside / "deep/b.mp4", outside / "secret.mp4", outside / "clips/secret.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"123")
    os.symlink("/etc/passwd", inside / "passwd.mp4")
    os.symlink("../../outside/secret.mp4", inside / "deep/relative.mp4")
    os.symlink("../outside/secret.mp4", inside / "gone-on.mp4")
    os.symlink(outside / "nothing", inside / "nothing.mp4")
    os.symlink(outside, inside / "folder")
    os.symlink("deep/b.mp4", inside / "own.mp4")
    os.symlink("deep", inside / "own-folder")
    os.symlink(inside, tmp_path / "in-link")
    return inside


@pytest.mark.parametrize("name", ["in", "in-link"])
def test_links_out_of_the_folder_are_left_out_and_counted(linked, name):
    folder = Folder(str(linked.parent / name))
    listing = list_videos(folder)
    assert shown(listing) == ["a.mp4", "deep/b.mp4", "own.mp4"]
    assert listing.left_out == {"link-out": {".mp4": 4, "folder": 1}}
    assert "--follow-links takes them" in describe_left_out(listing.left_out)[0]
    followed = list_videos(folder, VideoChoice(follow_links=True))
    assert set(shown(followed)) >= {"passwd.mp4", "nothing.mp4", "folder/secret.mp4", "folder/clips/secret.mp4"}
    assert followed.left_out == {}


def test_a_link_that_is_named_itself_is_read(linked):
    assert shown(list_videos(Folder(str(linked / "passwd.mp4")))) == ["passwd.mp4"]


@pytest.mark.parametrize(
    ("pattern", "found", "left_out"),
    [
        ("*.mp4", ["a.mp4", "own.mp4"], {"link-out": {".mp4": 3}}),
        ("*/secret.mp4", [], {"link-out": {"folder": 1}}),
        ("**/*.mp4", ["a.mp4", "deep/b.mp4", "own.mp4"], {"link-out": {".mp4": 4, "folder": 1}}),
    ],
)
def test_links_that_a_glob_reaches(linked, pattern, found, left_out):
    folder = Folder(f"{linked}/{pattern}")
    if found:
        listing = list_videos(folder)
        assert (shown(listing), listing.left_out) == (found, left_out)
    else:
        with pytest.raises(InputError, match=r"1 is a link that leads out of the folder .*: folder 1"):
            list_videos(folder)


def test_an_output_that_links_lead_to_is_left_out_too(linked):
    choice = VideoChoice(follow_links=True, output=Folder(str(linked.parent / "outside")))
    found = shown(list_videos(Folder(str(linked)), choice))
    assert "folder/secret.mp4" in found
    assert "folder/clips/secret.mp4" not in found


def test_many_endings_are_summed_up():
    counts = count_endings([*(f"{number}.{number:03}" for number in range(50)), "a.txt", "b.txt", "c\n.t\nx"])
    assert (counts[".txt"], counts["others"], len(counts)) == (2, 32, 21)
    assert sum(counts.values()) == 53
    (line,) = describe_left_out({"no-video": counts})
    assert line.startswith("53 are no videos by their endings: others 32, .txt 2, ")
    assert line.endswith(", …")


NAMES = st.lists(st.sampled_from(["a", "b", "ab", "c.mp4"]), min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(st.sampled_from(["a", "*", "?", "**", "*.mp4"]), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(NAMES, PATTERNS)
def test_a_glob_that_stands_for_a_path_reaches_all_its_folders(path, pattern):
    folders = ["/".join(path.split("/")[:end]) for end in range(1, path.count("/") + 1)]
    if matches(path, pattern):
        assert all(may_match_below(folder, pattern) for folder in folders)
        assert chooses(path, pattern)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=5), max_size=60))
def test_no_file_is_lost_in_the_counts(paths):
    assert num_left_out({"no-video": count_endings(paths)}) == len(paths)
