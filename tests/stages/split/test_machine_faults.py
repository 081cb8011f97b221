"""What the machine did to a video is open: tried again in the run, then by the next run, and said by the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from curator_dask import SplitStage
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.video.process import ffmpeg
from tests.trees import results, times
from tests.video.videotools import numbered_video


@dataclass(frozen=True)
class Place:
    """Two videos, a file of 0 bytes, and an ffmpeg that is killed where it cuts ``bad.mp4``, while `broken` is there."""

    videos: Path
    program: Path
    broken: Path
    tries: Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path / "videos", tmp_path / "ffmpeg.sh", tmp_path / "broken", tmp_path / "tries")
    made.videos.mkdir()
    for name in ("bad.mp4", "good.mp4"):
        numbered_video(made.videos / name, num_frames=75, extra=("-c:v", "libx264"))
    (made.videos / "empty.mp4").touch()
    made.broken.touch()
    made.program.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *bad.mp4*) if [ -e {made.broken} ]; then echo x >> {made.tries}; kill -KILL $$; fi;; esac\n'
        f'exec {ffmpeg.ffmpeg_path()} "$@"\n'
    )
    made.program.chmod(0o755)
    monkeypatch.setenv(ffmpeg.FFMPEG_VARIABLE, str(made.program))
    return made


def test_a_killed_ffmpeg_is_tried_again_and_the_next_run_makes_it_whole(place, tmp_path):
    out = tmp_path / "out"
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
        mine = RunContext(cluster)
        first = SplitStage(str(place.videos), str(out)).run(context=mine)
        assert (first.num_failed, first.num_open, first.counts["clips"]) == (1, 1, 1)
        assert (first.counts["videos_failed"], first.counts["videos_open"]) == (1, 1)
        assert len(place.tries.read_text().split()) == 3
        lines = (out / ".curator" / "split" / "failures.jsonl").read_text().splitlines()
        told = {one["source"].rpartition("/")[2]: (one["reason"], one["open"]) for one in map(json.loads, lines)}
        assert told == {"bad.mp4": ("killed", True), "empty.mp4": ("empty", False)}

        place.broken.unlink()
        before = times(out / "clips")
        second = SplitStage(str(place.videos), str(out)).run(context=mine)
        assert (second.num_run, second.num_skipped) == (1, 2)
        assert (second.num_failed, second.num_open, second.counts["clips"]) == (1, 0, 2)
        assert "videos_open" not in second.counts
        assert before.items() <= times(out / "clips").items()

        assert SplitStage(str(place.videos), str(out)).run(context=mine).num_run == 0
        retried = SplitStage(str(place.videos), str(out)).run(context=replace(mine, retry_failed=True))
        assert (retried.num_run, retried.num_failed) == (1, 1)
        mended = out.rename(tmp_path / "mended")
        SplitStage(str(place.videos), str(out)).run(context=mine)
    assert results(mended) == results(out), "nothing is left of what went wrong"


def test_the_last_line_and_the_exit_status_say_that_some_is_open(place, tmp_path):
    arguments = (
        "split",
        "--video-dir",
        place.videos,
        "--output-path",
        tmp_path / "out",
        "--no-generate-embeddings",
        "--n-workers",
        "1",
    )
    done = subprocess.run(
        [sys.executable, "-m", "curator_dask", *map(str, arguments)],
        capture_output=True, text=True, timeout=280, check=False,
        env={name: value for name, value in os.environ.items() if name != "CURATOR_DASK_SCHEDULER_ADDRESS"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == "curator-dask: 1 failed, 1 open: run again"
    assert "tried again in 1 s" in done.stderr
    assert "1 open failure, run again, listed in" in done.stderr
