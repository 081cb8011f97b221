"""How fast clips are embedded, as a share of the speed at which ffmpeg alone decodes them.

    python -m benchmarks.embed [--seconds 60] [--rounds 3] [--source FILE] [--model pdqf_tmk]

One process on one core does three things with the same clips, one after the other:

* decode every frame and throw it away: one ffmpeg per clip, without scaling;
* read the frames that the model needs, at the size that it needs, as the embed stage does (with Decord);
* a whole unit of the embed stage: read, compute, write Parquet.

It also cuts the video as the split stage does, and computes the vectors of frames that are in memory, with and without
the tracks: what tracks add, as a share of the cut. And it cuts the video with the tracks made meanwhile, as in a run with a
model that sees other frames.

The table shows CPU seconds of the process and its children.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.transcode import make_videos
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed.clip_tracks import ClipFrames, Embedder
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.embed.worker import embed_unit
from curator_dask.stages.split.spec import SplitTask
from curator_dask.stages.split.stage import SplitStage
from curator_dask.stages.split.worker import split_video
from curator_dask.video.frames.read import read_clip_frames
from curator_dask.video.process.ffmpeg import ffmpeg_path

GOAL = 0.85
TRACKS_GOAL = 0.03
SPLIT, SPLIT_WITH_TRACKS = "split", "split, and tracks meanwhile"
VECTORS, BOTH = "vectors of frames in memory", "vectors and tracks of frames in memory"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--model", default="pdqf_tmk_nobars")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "videos").mkdir()
        make_videos(folder / "videos", 1, options.seconds, options.source)
        with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
            split = SplitStage(str(folder / "videos"), str(folder / "out"))
            split.run(context=RunContext(cluster))
        stage = EmbedStage(str(folder / "out"), embedding_algorithm=options.model, frames_from="clips")
        clips = sorted((folder / "out" / "clips").rglob("*.mp4"))
        listing = split.list_videos()
        videos, tracked = (
            [
                SplitTask(split.spec(None, tracks=tracks), listing.folder, video, split.splitter().of(video))
                for video in listing.videos
            ]
            for tracks in (False, True)
        )
        frames = [ClipFrames(read_clip_frames(clip, stage.model().frame_rule)) for clip in clips]
        embedders = [Embedder(replace(stage.spec(), tracks=tracks)) for tracks in (False, True)]
        works: dict[str, Callable[[], object]] = {
            "decode alone (ffmpeg)": lambda: [_decode(clip) for clip in clips],
            "read at the model's size": lambda: [read_clip_frames(clip, stage.model().frame_rule) for clip in clips],
            "embed": lambda: [embed_unit(unit.task) for unit in plan_units(stage.spec())],
            SPLIT: lambda: [split_video(task) for task in videos],
            SPLIT_WITH_TRACKS: lambda: [split_video(task) for task in tracked],
            VECTORS: lambda: embedders[0].embed(frames),
            BOTH: lambda: embedders[1].embed(frames),
        }
        rounds = [{name: _cpu_s(work) for name, work in works.items()} for _ in range(options.rounds + 1)][1:]
    report(rounds, options, len(clips))


def _decode(clip: Path) -> None:
    subprocess.run(
        [ffmpeg_path(), "-nostdin", "-v", "error", "-threads", "1", "-i", str(clip), "-an", "-f", "null", "-"],
        check=True,
    )


def _cpu_s(work: Callable[[], object]) -> float:
    before = _spent_s()
    work()
    return _spent_s() - before


def _spent_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def report(rounds: list[dict[str, float]], options: argparse.Namespace, num_clips: int) -> None:
    print(f"{num_clips} clips of 720p at 30 fps, {options.seconds:g} s in all, {options.model}\n")
    print("| | CPU s | share of decoding alone | share of reading | goal |")
    print("|---|---|---|---|---|")
    for name in rounds[0]:
        seconds = statistics.median(one[name] for one in rounds)
        decode, read = (
            statistics.median(one[other] / one[name] for one in rounds)
            for other in ("decode alone (ffmpeg)", "read at the model's size")
        )
        goal = f"{GOAL:.0%}" if name == "embed" else ""
        print(f"| {name} | {seconds:.3f} | {decode:.1%} | {read:.1%} | {goal} |")
    added = statistics.median((one[BOTH] - one[VECTORS]) / one[SPLIT] for one in rounds)
    print(f"\nTracks add {added:.2%} to the split; the goal is at most {TRACKS_GOAL:.0%}.")
    beside = statistics.median((one[SPLIT_WITH_TRACKS] - one[SPLIT]) / one[SPLIT] for one in rounds)
    print(f"Made beside the cut, for a model that sees other frames, they add {beside:.2%}.")


if __name__ == "__main__":
    main()
