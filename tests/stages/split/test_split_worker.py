"""A video whose header says less than the file holds: it is planned and cut again by the frames that were decoded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, SplitStage
from curator_dask.errors import ParameterError
from curator_dask.video.probe import probe_video
from tests.video.videotools import numbered_video, run_ffmpeg


def understated(path: Path) -> Path:
    """A Matroska file with 26 s of pictures whose header says 21 s."""
    picture = "testsrc2=size=128x96:rate=25:duration=26"
    run_ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", str(path))
    content = path.read_bytes()
    assert content.count(b"00:00:26.000000000") == 1
    path.write_bytes(content.replace(b"00:00:26.000000000", b"00:00:21.000000000"))
    return path


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_frames_behind_the_stated_end_are_cut_too(tmp_path, context):
    (tmp_path / "videos").mkdir()
    info = probe_video(understated(tmp_path / "videos" / "understated.mkv"))
    assert (info.duration_s, info.is_scanned) == (21.0, False)  # the header is believed
    out = tmp_path / "out"
    embed = EmbedStage(str(out), video_dir=str(tmp_path / "videos"))
    result = SplitStage(str(tmp_path / "videos"), str(out), vectors=embed).run(context=context)
    assert (result.counts["clips_planned"], result.counts["clips"]) == (3, 3)
    rows = pq.read_table(out / "clips.parquet").sort_by("span_index").to_pylist()
    assert [num_frames(out / row["clip_path"]) for row in rows] == [250, 250, 150]
    assert rows[-1]["end_s"] == 26.0
    (record,) = out.glob("processed_videos/*.json")
    assert "the header says 21.00 s, the frames last 26.00 s: all of them were cut" in record.read_text()
    embedded = embed.run(context=context)  # the vectors of the second cut are there, of all three clips
    assert (embedded.counts["clips_in"], embedded.counts["embeddings"], embedded.num_run) == (3, 3, 0)


def test_sound_and_fields_are_as_asked_for_and_in_the_record(tmp_path, context):
    (tmp_path / "videos").mkdir()
    inputs = ("testsrc2=size=64x48:rate=20:duration=3,interlace", "sine=frequency=300:duration=3", "sine=duration=3")
    sources = [word for source in inputs for word in ("-f", "lavfi", "-i", source)]
    codecs = ("-c:v", "libx264", "-flags", "+ildct+ilme", "-c:a", "aac")
    run_ffmpeg(*sources, "-map", "0", "-map", "1", "-map", "2", *codecs, str(tmp_path / "videos" / "in.mp4"))
    out = tmp_path / "out"
    result = SplitStage(str(tmp_path / "videos"), str(out), audio="all", deinterlace=True).run(context=context)
    (clip,) = out.glob("clips/*.mp4")
    with av.open(str(clip)) as container:
        assert len(container.streams.audio) == 2
        assert not next(container.decode(video=0)).interlaced_frame
    (record,) = out.glob("processed_videos/*.json")
    warnings = ["the pictures are interlaced: they were deinterlaced, one picture for each"]
    assert json.loads(record.read_text())["warnings"] == warnings
    assert result.counts["videos_damaged"] == 0


def test_a_folder_of_an_earlier_version_goes_on_unless_sound_or_fields_are_others():
    usual = SplitStage("videos", "out").identity()
    assert not {"audio", "deinterlace"} & usual.keys()
    changed = SplitStage("videos", "out", audio="all", deinterlace=True)
    assert changed.identity() == {**usual, "audio": "all", "deinterlace": True}


def test_held_pictures_are_recorded_and_embedded(tmp_path, context):
    (tmp_path / "videos").mkdir()
    sources = ("-f", "lavfi", "-i", "testsrc2=size=128x96:rate=10:duration=33", "-f", "lavfi", "-i", "sine=duration=33")
    pauses = ("-vf", "select='lt(t,2)+between(t,22,33)'", "-fps_mode", "vfr", "-c:v", "libx264", "-c:a", "aac")
    run_ffmpeg(*sources, *pauses, str(tmp_path / "videos" / "slides.mp4"))
    out = tmp_path / "out"
    embed = EmbedStage(str(out), video_dir=str(tmp_path / "videos"))
    result = SplitStage(str(tmp_path / "videos"), str(out), vectors=embed).run(context=context)
    assert [result.counts[name] for name in ("clips", "clips_failed", "frames_held", "videos_damaged")] == [4, 0, 4, 0]
    rows = pq.read_table(out / "clips.parquet").sort_by("span_index").to_pylist()
    assert [(row["num_frames_held"], num_frames(out / row["clip_path"])) for row in rows[:3]] == [
        (1, 21),
        (2, 2),
        (1, 81),
    ]
    (record,) = out.glob("processed_videos/*.json")
    assert "4 frames in 3 clips are copies" in record.read_text()
    embedded = embed.run(context=context)
    assert (embedded.counts["clips_in"], embedded.num_run) == (4, 0)


def test_how_long_pictures_are_held_is_part_of_the_identity():
    usual = SplitStage("videos", "out").identity()
    assert SplitStage("videos", "out", max_hold_s=3.0).identity() == {**usual, "max_hold_s": 3.0}
    with pytest.raises(ParameterError, match="max_hold_s"):
        SplitStage("videos", "out", max_hold_s=-1.0)


def test_videos_of_more_hours_than_asked_for_are_failures_that_are_counted(tmp_path, context):
    (tmp_path / "videos").mkdir()
    for name, seconds in (("short", 3), ("long", 5)):
        numbered_video(tmp_path / "videos" / f"{name}.mp4", num_frames=25 * seconds)
    given = {"video_dir": str(tmp_path / "videos"), "output_path": str(tmp_path / "out")}
    stage = SplitStage(**given, max_video_hours=4 / 3600)
    for run in (dataclasses.replace(context, dry_run=True), context):
        result = stage.run(context=run)
        assert [(one.reason, one.is_open, Path(one.source).name) for one in result.failures] == [
            ("too-long", False, "long.mp4")
        ]
        assert result.counts["videos_failed"] == 1
        assert result.counts["clips_planned"] == 1
    assert "max_video_hours" not in SplitStage(**given).identity()
    with pytest.raises(ParameterError, match=r"max_video_hours \(0\) must be > 0"):
        SplitStage(**given, max_video_hours=0)
