"""The split stage with ``ids="original"``: the ids in its tables are those of the original workflow."""

from __future__ import annotations

from dataclasses import replace

import av
import pyarrow.parquet as pq
import pytest

from curator_dask import FolderInUseError, ParameterError, SplitStage
from tests.video.test_original_ids import ids_of_the_original
from tests.video.videotools import run_ffmpeg


@pytest.fixture
def stage(tmp_path):
    """A stage that records clips of 0.3 s at 30 frames per second; some of its exact ids differ from the original's."""
    (tmp_path / "videos").mkdir()
    picture = "testsrc2=size=64x64:rate=30:duration=5"
    run_ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", str(tmp_path / "videos/a.mp4"))
    return SplitStage(
        str(tmp_path / "videos"), str(tmp_path / "out"), fixed_stride_split_duration=0.3,
        fixed_stride_min_clip_length_s=0.1, upload_clips=False,
    )  # fmt: skip


def ids_after(stage, context):
    stage.run(context=context)
    return pq.read_table(f"{stage.output_path}/clips.parquet").sort_by("span_index")["id"].to_pylist()


def test_ids_of_the_original_on_request(stage, tmp_path, context):
    path = f"{stage.video_dir}/a.mp4"
    with av.open(path) as container:
        video = container.streams.video[0]
        duration_s, framerate = float(video.duration * video.time_base), float(video.average_rate)
    expected = ids_of_the_original(path, duration_s, framerate, 0.3, 0.3, 0.1)
    exact = ids_after(stage, context)
    original = ids_after(replace(stage, output_path=str(tmp_path / "original"), ids="original"), context)
    assert original == expected
    assert len(exact) == len(original)
    assert exact != original


def test_a_folder_keeps_its_rule(stage, context):
    assert ids_after(stage, context) == ids_after(stage, context)
    with pytest.raises(FolderInUseError, match='ids was "exact" and is now "original"'):
        replace(stage, ids="original").run(context=context)


def test_an_unknown_rule_is_refused(stage):
    with pytest.raises(ParameterError, match=r"ids \('theirs'\)"):
        replace(stage, ids="theirs")
