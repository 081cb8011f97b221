"""A long video is cut in parts: the same bytes for any workers and after kills, and only what is missing is done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, SplitStage, prune_output, verify_output
from curator_dask.errors import ParameterError
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.split.long_video import key_of_part, key_of_video, key_of_whole
from curator_dask.video.process import ffmpeg
from tests.trees import results, times
from tests.video.videotools import run_ffmpeg

PART_MINUTES = 8 / 60
SIZES = {"fixed_stride_split_duration": 2.0, "part_minutes": PART_MINUTES}
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac")


def video(path: Path, seconds: int = 24) -> Path:
    sources = (f"testsrc2=size=64x64:rate=25:duration={seconds}", f"sine=duration={seconds}")
    path.parent.mkdir(exist_ok=True)
    run_ffmpeg(*(word for source in sources for word in ("-f", "lavfi", "-i", source)), *X264, str(path))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two long videos, a short one, and a transport stream that is long."""
    folder = tmp_path_factory.mktemp("parts") / "videos"
    for name, seconds in {"long.mp4": 24, "longer.mkv": 29, "short.mp4": 5, "stream.ts": 12}.items():
        video(folder / name, seconds)
    return folder


def split(videos: Path, out: Path, context: RunContext, **parameters):
    embed = EmbedStage(str(out), video_dir=str(videos))
    stage = SplitStage(str(videos), str(out), vectors=embed, **{**SIZES, **parameters})
    return stage.run(context=context), embed.run(context=context)


def marker(out: Path, key: str) -> Path:
    return out / ".curator" / "split" / "units" / f"{key}.json"


@pytest.fixture(scope="module")
def undisturbed(videos, tmp_path_factory, one_worker) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    cut, embedded = split(videos, out, one_worker)
    assert {name: cut.counts[name] for name in ("videos_found", "videos_processed", "clips_planned", "clips")} == {
        "videos_found": 4, "videos_processed": 4, "clips_planned": 34, "clips": 34,
    }  # fmt: skip
    assert (embedded.counts["embeddings"], embedded.num_run) == (34, 0)
    return out


def test_records_name_the_parts_and_say_why_there_are_none(undisturbed):
    records = {path.stem: json.loads(path.read_text()) for path in undisturbed.glob("processed_videos/*.json")}
    assert {name.partition(".")[0]: record["num_clip_chunks"] for name, record in records.items()} == {
        "long": 3, "longer": 4, "short": 1, "stream": 1,
    }  # fmt: skip
    told = {name.partition(".")[0]: record["warnings"] for name, record in records.items()}
    assert told["long"] == ["it was cut in 3 parts"]
    assert told["short"] == []
    assert "it was cut in one go and not in parts: times in files of its kind (mpegts)" in told["stream"][-1]
    chunks = [json.loads(path.read_text()) for path in sorted(undisturbed.glob("processed_clip_chunks/long.mp4_*"))]
    assert [len(chunk["clips"]) for chunk in chunks] == [4, 4, 4]
    assert verify_output(str(undisturbed)).findings == ()


def test_clips_rows_and_vectors_are_those_of_a_cut_in_one_go(undisturbed, videos, tmp_path, context):
    cut, _ = split(videos, tmp_path / "whole", context, part_minutes=0)
    assert cut.num_run == 4
    tables = [pq.read_table(out / "clips.parquet").drop_columns(["num_bytes"]) for out in (undisturbed, cut_path(cut))]
    assert tables[0].equals(tables[1])
    for clip in sorted(undisturbed.glob("clips/*.mp4")):
        assert pictures(clip) == pictures(cut_path(cut) / "clips" / clip.name)
    vectors = [results(next(out.glob("*_embd_parquet"))) for out in (undisturbed, cut_path(cut))]
    assert vectors[0] == vectors[1]


def cut_path(cut) -> Path:
    return Path(cut.output.root)


def pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def test_two_workers_write_the_same_bytes(undisturbed, videos, tmp_path, context):
    split(videos, tmp_path / "out", context)
    assert results(tmp_path / "out") == without_place(undisturbed, tmp_path / "out")


def without_place(one: Path, other: Path) -> dict[str, str]:
    """`results` of one output with the metas of another: these name the place of the clips, where both have them."""
    places = {name: digest for name, digest in results(other).items() if name.startswith("metas/")}
    mine = results(one)
    return {**mine, **{name: digest for name, digest in places.items() if name in mine}}


def test_a_killed_run_goes_on_with_the_parts_that_are_missing(undisturbed, videos, tmp_path, context, monkeypatch):
    out, log = tmp_path / "out", tmp_path / "log"
    program = tmp_path / "ffmpeg.sh"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *segment_time*) echo "$*" >> {log};; esac\nexec {ffmpeg.ffmpeg_path()} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv(ffmpeg.FFMPEG_VARIABLE, str(program))
    parts = [marker(out, key_of_part(name, number)) for name in ("long.mp4", "longer.mkv") for number in range(4)]
    killed = kill_when(videos, out, lambda: sum(path.exists() for path in parts) >= 2)
    assert killed, "the run ended before"
    done = [path for path in parts if path.exists()]
    assert 2 <= len(done) < 7
    before, num_before = times(out / "clips"), len(log.read_text().splitlines())
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
        cut, _ = split(videos, out, RunContext(cluster))
    assert len(log.read_text().splitlines()) - num_before == 7 - len(done), "each missing part was cut once"
    assert cut.num_skipped >= 4 + len(done)  # the four videos, and the parts
    kept = {name for path in done for name in json.loads(path.read_text())["outputs"] if name.startswith("clips/")}
    after = times(out / "clips")
    assert {name: before[name.removeprefix("clips/")] for name in kept} == {
        name: after[name.removeprefix("clips/")] for name in kept
    }
    assert results(out) == without_place(undisturbed, out)
    monkeypatch.undo()
    again, _ = split(videos, out, context)
    assert again.num_run == 0


def kill_when(videos: Path, out: Path, is_time) -> bool:
    """Start the run and kill all of it when it is time; returns whether it was still at work."""
    words = ("split", "--video-dir", videos, "--output-path", out, "--fixed-stride-split-duration", 2.0)
    argv = [
        sys.executable,
        "-m",
        "curator_dask",
        *map(str, words),
        "--part-minutes",
        str(PART_MINUTES),
        "--n-workers",
        "1",
    ]
    run = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and not is_time():
        time.sleep(0.02)
    was_running = run.poll() is None
    if was_running:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return was_running


def damaged(path: Path, first: float, last: float) -> None:
    """Overwrite the bytes between two places of a file."""
    content = path.read_bytes()
    begin, end = (int(len(content) * share) for share in (first, last))
    path.write_bytes(content[:begin] + b"\xff" * (end - begin) + content[end:])


def test_a_part_that_cannot_be_decoded_fails_alone(tmp_path, context):
    out = tmp_path / "out"
    damaged(video(tmp_path / "videos" / "hurt.mp4"), 0.55, 0.6)
    cut, embedded = split(tmp_path / "videos", out, context)
    assert (cut.counts["videos_processed"], cut.counts["videos_failed"]) == (1, 0)
    assert cut.counts["clips_planned"] == 12 == cut.counts["clips"] + cut.counts["clips_failed"]
    assert 4 <= cut.counts["clips_failed"] <= 8
    assert {failure.reason for failure in cut.failures} == {"damaged"}
    assert embedded.counts["embeddings"] == cut.counts["clips"]
    assert context_again(tmp_path, out, context).num_run == 0
    retried = context_again(tmp_path, out, replace(context, retry_failed=True))
    assert retried.num_run >= 1
    assert retried.counts == cut.counts


def context_again(folder: Path, out: Path, context: RunContext):
    return split(folder / "videos", out, context)[0]


def test_while_a_part_is_open_the_video_is_open_and_its_parts_stay(videos, tmp_path, context, monkeypatch):
    program, broken = tmp_path / "ffmpeg.sh", tmp_path / "broken"
    broken.touch()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *copyts*segment_time*) if [ -e {broken} ]; then kill -KILL $$; fi;; esac\n'
        f'exec {ffmpeg.ffmpeg_path()} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv(ffmpeg.FFMPEG_VARIABLE, str(program))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "long.mp4").symlink_to(videos / "long.mp4")
    out = tmp_path / "out"
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
        mine = RunContext(cluster)
        stage = SplitStage(str(tmp_path / "videos"), str(out), follow_links=True, **SIZES)
        first = stage.run(context=mine)
        assert (first.counts["videos_found"], first.counts["videos_open"], first.counts["videos_processed"]) == (
            1,
            1,
            0,
        )
        assert (first.counts["clips_planned"], first.num_open) == (0, 1)
        assert pq.read_table(out / "clips.parquet").num_rows == 0
        assert len(list(out.glob("clips/*.mp4"))) == 4  # of the first part
        broken.unlink()
        second = stage.run(context=mine)
    assert (second.counts["videos_processed"], second.counts["clips"], second.num_failed, second.num_open) == (
        1,
        12,
        0,
        0,
    )
    assert second.num_run == 3  # two parts, and the record of the whole


def test_another_version_of_the_video_leaves_nothing_of_the_first(tmp_path, context):
    path = video(tmp_path / "videos" / "long.mp4")
    out = tmp_path / "out"
    split(tmp_path / "videos", out, context)
    path.unlink()
    video(path, 5)
    cut, _ = split(tmp_path / "videos", out, context)
    assert cut.counts["clips"] == 2
    assert len(list(out.glob("clips/*.mp4"))) == 2
    assert not marker(out, key_of_part("long.mp4", 0)).exists()
    assert not marker(out, key_of_whole("long.mp4")).exists()
    assert verify_output(str(out)).findings == ()


def test_repair_does_one_part_again(undisturbed, videos, tmp_path, context):
    out = tmp_path / "out"
    split(videos, out, context)
    rows = [row for row in pq.read_table(out / "clips.parquet").to_pylist() if row["relative_path"] == "longer.mkv"]
    clip = out / rows[6]["clip_path"]
    whole = clip.read_bytes()
    clip.write_bytes(whole[:-9] + b"different")
    assert len(verify_output(str(out), repair=True).findings) == 1
    before = times(out / "clips")
    cut, _ = split(videos, out, context)
    assert cut.num_run == 1
    assert clip.read_bytes() == whole
    changed = {name for name, at in times(out / "clips").items() if before[name] != at}
    assert changed == {Path(row["clip_path"]).name for row in rows[4:7]}


def test_prune_takes_the_parts_of_a_video_that_is_gone(tmp_path, context):
    video(tmp_path / "videos" / "kept.mp4", 5)
    gone = video(tmp_path / "videos" / "long.mp4")
    out = tmp_path / "out"
    split(tmp_path / "videos", out, context)
    assert prune_output(str(out)).files == ()
    gone.unlink()
    assert prune_output(str(out)).num_still_listed == 1
    split(tmp_path / "videos", out, context)
    found = prune_output(str(out), remove=True)
    assert found.videos == ("long.mp4",)
    assert sum(name.startswith("clips/") for name in found.files) == 12
    assert len(list(out.glob("clips/*.mp4"))) == 2
    assert not marker(out, key_of_video("long.mp4")).exists()


def test_a_dry_run_counts_the_parts_that_are_known(videos, tmp_path, context):
    out = tmp_path / "out"
    parts = [marker(out, key_of_part("long.mp4", number)) for number in range(3)]
    assert kill_when(videos, out, lambda: any(path.exists() for path in parts))
    planned = SplitStage(str(videos), str(out), **SIZES).run(context=replace(context, dry_run=True))
    assert planned.num_run + planned.num_skipped >= 4 + 3
    assert planned.num_run >= 1


def test_the_usual_length_of_parts_is_not_in_the_record():
    usual = SplitStage("videos", "out").identity()
    assert "part_minutes" not in usual
    assert SplitStage("videos", "out", part_minutes=30.0).identity() == {**usual, "part_minutes": 30.0}
    with pytest.raises(ParameterError, match=r"part_minutes \(-1\) must be >= 0"):
        SplitStage("videos", "out", part_minutes=-1)
