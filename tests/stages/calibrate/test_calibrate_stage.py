"""Calibration on real clips: copies are made, embedded and judged."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from curator_dask import InputError, ParameterError, SplitStage
from curator_dask.cli.output.calibration_report import calibration_report
from curator_dask.files import layout
from curator_dask.stages.calibrate.stage import CalibrateStage
from curator_dask.video.edits import EDITS, LATE
from curator_dask.video.moments import CAMERAS, _camera
from curator_dask.video.process.ffmpeg import ffmpeg_path


@pytest.fixture(scope="module")
def clips(tmp_path_factory, few_videos, cluster):
    from curator_dask.stages.base import RunContext

    folder = tmp_path_factory.mktemp("calibrate")
    scenes = folder / "scenes"  # without their twins: which clips are chosen depends on their ids, thus on the path
    scenes.mkdir()
    for scene in few_videos.glob("scene_?.mp4"):
        shutil.copy(scene, scenes)
    out = folder / "clips"
    SplitStage(str(scenes), str(out), fixed_stride_split_duration=2.0, limit_clips=1).run(context=RunContext(cluster))
    return out


def test_the_samples_are_recognised_after_light_edits(clips, context, tmp_path):
    stage = CalibrateStage(str(clips), str(tmp_path), num_clips=2)
    result = stage.run(context=context)
    assert result.counts["clips_in"] == result.counts["clips"] + result.counts["clips_failed"] == 2
    assert result.counts["copies"] == 2 * len(EDITS)  # clips of two seconds are too short to begin later
    found = stage.calibration()
    assert found.recall("light") == 1.0
    assert 0.01 <= found.recommended_eps <= 0.98
    written = json.loads((tmp_path / layout.CALIBRATION).read_text())
    assert written["recommended_eps"] == found.recommended_eps
    assert {one["late_recall"] for one in written["table"]} == {None}  # and the file is JSON all the same
    assert written["overlap"]["recommended_strictness"] == found.overlap.recommended_strictness
    again = stage.run(context=context)
    assert (again.num_run, again.num_skipped) == (0, 2)
    assert found.num_false_candidates == 1
    sources = tuple(title.partition("(")[2].rstrip(")") for title in found.closest[0][:2])
    told = replace(stage, known_duplicates=(("another.mp4", sources[0]), sources))
    judged_anew = told.run(context=context)  # nothing is computed again
    assert (judged_anew.num_run, judged_anew.counts["different_pairs"]) == (0, 0)
    assert told.calibration().recommended_eps >= found.recommended_eps


def test_one_clip_is_not_enough(clips, context, tmp_path):
    with pytest.raises(ParameterError, match="num_clips"):
        CalibrateStage(str(clips), str(tmp_path), num_clips=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        CalibrateStage(str(tmp_path / "empty"), str(tmp_path / "out")).run(context=context)


def test_the_model_is_looked_for_in_model_dir(tmp_path):
    stage = CalibrateStage("clips", "out", model_dir=str(tmp_path))
    assert stage.embed_stage().model_spec().options.model_dir == tmp_path


def test_other_moments_of_a_still_camera_are_told_from_copies_that_begin_later(context, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    still = (*_camera(0, CAMERAS[0][:2]), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    subprocess.run([ffmpeg_path(), "-v", "error", *still, str(videos / "still.mp4")], check=True)
    SplitStage(str(tmp_path / "videos"), str(tmp_path / "clips")).run(context=context)
    stage = CalibrateStage(str(tmp_path / "clips"), str(tmp_path / "found"), num_clips=2)
    assert stage.run(context=context).counts["copies"] == 2 * len((*EDITS, *LATE))
    found = stage.calibration()
    assert (found.num_other_moments, found.num_false_candidates) == (1, 0)
    assert (found.overlap.num_other_moments, found.overlap.num_other_videos) == (1, 0)
    by_strictness = {one.strictness: one for one in found.overlap.table}
    assert by_strictness[0.0].num_other_moments == 0
    begun_later = [one for one in found.overlap.shifts if one.shift_s == 3.7 and one.edit == "re-encoded at CRF 38"]
    assert [(one.num_pairs, one.recall) for one in begun_later] == [(2, 1.0)]
    report = calibration_report(found)
    assert f"--strictness {found.overlap.recommended_strictness:g}" in report
    assert "of 1 other moment with alike pictures" in report
