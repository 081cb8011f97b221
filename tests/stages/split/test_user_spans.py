"""Cutting at the spans of a user's table: frame for frame, one video per change of its rows, and every row accounted for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curator_dask import InputError, ParameterError, SplitStage, Workflow, verify_output
from curator_dask.cli.app import app
from curator_dask.stages.base import RunContext
from tests.trees import results, times
from tests.video.videotools import run_ffmpeg

RATE = 25
ROWS = "path,start,end\nfilm.mp4,0.4,1.2\nfilm.mp4,2,4\nfilm.mp4,3,5\nfilm.mp4,5,5.4\nb/second.mp4,1,2\n"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two films of six seconds and one without rows."""
    folder = tmp_path_factory.mktemp("spans") / "videos"
    (folder / "b").mkdir(parents=True)
    source = (
        "-f",
        "lavfi",
        "-i",
        "mandelbrot=size=96x54:rate=25",
        "-t",
        "6",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    )
    run_ffmpeg(*source, str(folder / "film.mp4"))
    for name in ("b/second.mp4", "third.mp4"):
        shutil.copy(folder / "film.mp4", folder / name)
    return folder


def split(videos, out: Path, table: Path, rows: str, context, **parameters):
    table.write_text(rows)
    return SplitStage(str(videos), str(out), spans=str(table), **parameters).run(context=context)


def rows_of(out: Path) -> list[dict]:
    return pq.read_table(out / "clips.parquet").to_pylist()


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(np.float32)


def nearest(picture: np.ndarray, film: np.ndarray) -> int:
    return int(np.abs(film - picture).mean(axis=(1, 2)).argmin())


def test_clips_are_the_spans_frame_for_frame(videos, tmp_path, context):
    result = split(videos, tmp_path / "out", tmp_path / "s.csv", ROWS, context)
    film = frames(videos / "film.mp4")
    rows = rows_of(tmp_path / "out")
    assert [(row["relative_path"], row["start_s"], row["end_s"]) for row in rows] == [
        ("b/second.mp4", 1, 2), ("film.mp4", 0.4, 1.2), ("film.mp4", 2, 4), ("film.mp4", 3, 5), ("film.mp4", 5, 5.4)
    ]  # fmt: skip
    for row in rows:
        clip = frames(tmp_path / "out" / row["clip_path"])
        first, after = round(row["start_s"] * RATE), round(row["end_s"] * RATE)
        assert len(clip) == row["num_frames"] == after - first
        assert (nearest(clip[0], film), nearest(clip[-1], film)) == (first, after - 1)
    assert result.counts["clips"] == result.counts["clips_planned"] == result.counts["span_rows"] == 5
    assert result.counts["files_found"] == result.counts["videos_found"] + result.counts["files_left_out"]
    assert result.left_out == {"no-spans": {".mp4": 1}}
    assert verify_output(str(tmp_path / "out")).findings == ()


def test_a_changed_table_cuts_only_the_videos_whose_rows_change(videos, tmp_path, context):
    out, table = tmp_path / "out", tmp_path / "s.csv"
    split(videos, out, table, ROWS, context)
    before = times(out)
    again = split(videos, out, table, ROWS, context)
    assert (again.num_run, times(out)) == (0, before)
    lines = ROWS.splitlines()
    moved = tmp_path / "moved.csv"
    shuffled = split(videos, out, moved, "\n".join([lines[0], *reversed(lines[1:])]), context)
    assert shuffled.num_run == 0, "neither the order of rows nor the name of the table counts"
    changed = split(videos, out, table, ROWS.replace("film.mp4,5,5.4", "film.mp4,4.2,5.4"), context)
    assert (changed.num_run, changed.num_skipped) == (1, 1)
    assert {(row["start_s"], row["end_s"]) for row in rows_of(out)} >= {(4.2, 5.4), (1, 2)}
    assert len(list((out / "clips").iterdir())) == 5, "the clip of the changed row is replaced"
    assert verify_output(str(out)).findings == ()


def test_the_bytes_do_not_depend_on_the_number_of_workers(videos, tmp_path, context, one_worker):
    split(videos, tmp_path / "one", tmp_path / "s.csv", ROWS, one_worker)
    split(videos, tmp_path / "two", tmp_path / "s.csv", ROWS, context)
    ours = results(tmp_path / "one")
    assert {name for name in ours if name.startswith("clips/")}
    assert {name: digest for name, digest in ours.items() if not name.startswith("metas/")} == {
        name: digest for name, digest in results(tmp_path / "two").items() if not name.startswith("metas/")
    }


def test_spans_beyond_the_end_are_left_out_or_cut_there_and_said(videos, tmp_path, context):
    rows = "path,start,end\nfilm.mp4,4,99\nfilm.mp4,6,7\nfilm.mp4,1e6,2e6\nfilm.mp4,1,1.001\ngone.mp4,0,1\n"
    result = split(videos, tmp_path / "out", tmp_path / "s.csv", rows, context)
    assert [(row["start_s"], row["end_s"], row["num_frames"]) for row in rows_of(tmp_path / "out")] == [(4, 6, 50)]
    counts = result.counts
    assert (counts["spans_beyond_end"], counts["spans_shortened"], counts["spans_too_short"]) == (2, 1, 1)
    assert counts["span_rows"] == (
        counts["clips_planned"] + counts["spans_beyond_end"] + counts["spans_too_short"] + counts["span_rows_unmatched"]
    )
    assert result.warnings == (f"spans {tmp_path}/s.csv: rows that name no video of the input: 1 of 5: gone.mp4",)
    record = json.loads((tmp_path / "out" / "processed_videos" / "film.mp4.json").read_bytes())
    assert [word for word in map(str, record["warnings"]) if "after the end of the video" in word] == [
        "spans that begin after the end of the video (6.000 s) are left out: 2",
        "spans that end after the end of the video (6.000 s) are cut there: 1",
    ]  # fmt: skip


def test_only_the_video_with_impossible_spans_fails_and_that_for_good(videos, tmp_path, context):
    overlaps = "".join(f"film.mp4,{n / 10},{3 + n / 10}\n" for n in range(17))
    result = split(videos, tmp_path / "out", tmp_path / "s.csv", f"path,start,end\n{overlaps}third.mp4,0,1\n", context)
    (failure,) = result.failures
    assert (failure.reason, failure.is_open, result.counts["clips"]) == ("too-many-overlaps", False, 1)
    assert "17 spans overlap at a time" in failure.message
    twins = split(
        videos, tmp_path / "twins", tmp_path / "s.csv", "path,start,end\nfilm,1.001,2\nfilm,1.01,2\n", context
    )
    assert [one.reason for one in twins.failures] == ["shared-clip-ids"]
    assert "1.001 to 2 s and 1.01 to 2 s; leave one of them" in twins.failures[0].message


def test_a_limit_of_clips_and_of_spans(videos, tmp_path, context):
    result = split(videos, tmp_path / "out", tmp_path / "s.csv", ROWS, context, limit_clips=1)
    assert (result.counts["clips"], result.counts["spans_over_limit"]) == (2, 3)


def test_what_cannot_be_done_is_said_at_once(videos, tmp_path, context):
    for parameters, message in (
        ({"splitting_algorithm": "content"}, "spans .* and splitting_algorithm content exclude each other"),
        ({"transcode_encoder": "copy"}, "key frames"),
        ({"ids": "original"}, "ids original"),
        ({"limit_clips": -1}, "limit_clips"),
    ):
        with pytest.raises(ParameterError, match=message):
            SplitStage(str(videos), str(tmp_path / "out"), spans="s.csv", **parameters)
    with pytest.raises(ParameterError, match="needs a table"):
        SplitStage(str(videos), str(tmp_path / "out"), splitting_algorithm="spans")
    for rows, message in (
        ("path,start\nfilm.mp4,1\n", "has no column 'end'"),
        ("path,start,end\nfilm.mp4,2,1\n", "without a span.*: row 1"),
        (
            "path,start,end\ngone.mp4,0,1\n",
            "none of 3 videos has a row. .* name no video of the input: 1 of 1: gone.mp4",
        ),
    ):
        with pytest.raises(InputError, match=message):
            split(videos, tmp_path / "out", tmp_path / "s.csv", rows, context)
    workflow = Workflow(SplitStage(str(videos), str(tmp_path / "out"), spans=str(tmp_path / "gone.csv")))
    with pytest.raises(InputError, match="there is no file"):
        workflow.run(context)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_the_rows_and_writes_nothing(videos, tmp_path, context):
    planned = split(videos, tmp_path / "out", tmp_path / "s.csv", ROWS, RunContext(context.cluster, dry_run=True))
    assert (planned.counts["clips_planned"], planned.counts["span_rows"], planned.num_run) == (5, 5, 2)
    assert not (tmp_path / "out").exists()


def test_a_whole_run_follows_the_table(videos, tmp_path):
    (tmp_path / "s.csv").write_text(f"{ROWS}gone.mp4,1,2\n")
    out = tmp_path / "out"
    command = ["run", "--video-dir", str(videos), "--output-path", str(out), "--spans", str(tmp_path / "s.csv")]
    done = CliRunner().invoke(app, [*command, "--no-report", "--json", "--n-workers", "1"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    totals = document["totals"]
    assert totals["clips"] == 5 == totals["kept"] + totals["removed"] + totals["plain"] + totals["failed"]
    assert "name no video of the input: 1 of 6: gone.mp4" in document["stages"][0]["warnings"][0]
    assert "rows that name no video of the input: 1 of 6" in done.stderr
    assert verify_output(str(out)).findings == ()


def test_a_table_and_videos_in_a_bucket(videos, s3, tmp_path, context):
    bucket = fsspec.filesystem("s3", **s3.storage_options)
    bucket.put(f"{videos}/", f"{s3.url}/spans/videos/", recursive=True)
    (tmp_path / "s.csv").write_text(f"path,start,end\n{s3.url}/spans/videos/film.mp4,1,2\nthird,0,1\n")
    bucket.put(str(tmp_path / "s.csv"), f"{s3.url}/spans/s.csv")
    stage = SplitStage(
        f"{s3.url}/spans/videos", str(tmp_path / "out"), spans=f"{s3.url}/spans/s.csv",
        input_storage_options=s3.storage_options,
    )  # fmt: skip
    assert stage.run(context=context).counts["clips"] == 2
