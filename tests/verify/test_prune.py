"""What is left over of videos that are gone is listed, removed on request, and nothing else is."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from curator_dask import FolderLockedError, InputError, SplitStage, prune_output, verify_output
from curator_dask.cli.app import app
from curator_dask.files.folder import Folder
from curator_dask.files.layout import preview_path
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.runtime.lock.stage_locks import locked_stages
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from tests.trees import tree
from tests.video.videotools import numbered_video


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    (folder / "day1").mkdir(parents=True)
    for name in ("day1/a.mp4", "b.mp4"):
        numbered_video(folder / name, num_frames=100)
    (folder / "day1/broken.mp4").write_bytes(b"no video")
    return folder


def split(videos, context):
    out = videos.parent / "out"
    SplitStage(str(videos), str(out), fixed_stride_split_duration=2.0).run(context=context)
    record_previews(out)
    return out


def record_previews(out):
    """As the previews stage does: a file and a unit per clip."""
    state = StageState(Folder(str(out)), "previews")
    state.claim({})
    for clip in sorted((out / "clips").glob("*.mp4")):
        path = preview_path(clip.stem)
        size = state.folder.write_bytes(path, b"preview")
        state.write(UnitRecord(clip.stem, "v1", {path: size}))


def gone(videos):
    for path in sorted((videos / "day1").iterdir()):
        path.unlink()


def test_files_of_gone_videos_are_listed_and_removed_after_the_next_run(videos, context):
    out = split(videos, context)
    assert prune_output(str(out)).files == ()
    gone(videos)
    early = prune_output(str(out), remove=True)
    assert (early.videos, early.num_still_listed) == ((str(videos / "day1/broken.mp4"),), 1)
    (out / "notes.txt").write_text("mine")
    (out / f"clips/{TEMPORARY_PREFIX}killed").write_text("half a clip")
    split(videos, context)
    before = tree(out)
    found = prune_output(str(out))
    assert tree(out) == before
    assert found.videos == ("day1/a.mp4",)
    assert {path.split("/")[0] for path in found.files} >= {"clips", "metas", "previews", "processed_videos"}
    assert found.num_bytes == sum((out / path).stat().st_size for path in found.files)
    listed = json.loads(CliRunner().invoke(app, ["prune", str(out), "--json"]).stdout)
    assert (listed["removed"], listed["videos"], listed["files"]) == (False, ["day1/a.mp4"], list(found.files))
    assert listed["counts"]["bytes"] == found.num_bytes
    told = CliRunner().invoke(app, ["prune", str(out), "--remove"])
    assert told.exit_code == 0
    assert f"{len(found.files)} files removed" in told.output
    assert {path for path in before if path not in tree(out)} == set(found.files)
    assert (out / "notes.txt").exists()
    assert {finding.path for finding in verify_output(str(out)).findings} == {"notes.txt"}
    assert prune_output(str(out)).files == ()


def test_nothing_is_called_gone_where_the_folder_of_the_videos_is_not_there(videos, context):
    out = split(videos, context)
    videos.rename(videos.parent / "elsewhere")
    before = tree(out)
    with pytest.raises(InputError, match="is not there or holds no file"):
        prune_output(str(out), remove=True)
    assert tree(out) == before


def test_a_folder_without_records_and_one_where_a_run_works_are_refused(videos, context):
    with pytest.raises(InputError, match="holds no records of a stage"):
        prune_output(str(videos))
    out = split(videos, context)
    with locked_stages([(Folder(str(out)), "split")], set()), pytest.raises(FolderLockedError):
        prune_output(str(out), remove=True)
    marker = min((out / ".curator/split/units").iterdir())
    marker.write_bytes(marker.read_bytes()[:-9])
    with pytest.raises(InputError, match="verify .* --repair"):
        prune_output(str(out))
