"""How long splitting, and splitting with embedding, take compared with bare ffmpeg processes that do the same encode.

    python -m benchmarks.transcode [--videos 4] [--seconds 60] [--workers 2] [--rounds 3] [--source FILE]

The bare side runs one plain ffmpeg per video, as many at a time as there are workers. It has the same decoder, encoder and
settings, but one output file per video, no cuts and no records. All sides run one after the other in every round, and
each round gives its own ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.split.stage import SplitStage
from curator_dask.video.process.ffmpeg import ffmpeg_path, ffmpeg_version

LIMITS = {"split": 1.15, "split + embed": 1.35}
BARE = (
    *("-fps_mode:v", "passthrough", "-enc_time_base:v", "demux", "-map", "0:v:0", "-pix_fmt", "yuv420p"),
    *("-c:v", "libopenh264", "-rc_mode", "off", "-profile:v", "high", "-coder", "cabac", "-threads:v", "1"),
)


def make_videos(folder: Path, count: int, seconds: float, source: Path | None) -> list[Path]:
    """720p videos that are about as hard to encode as films: the given source, repeated, or noise that moves."""
    videos = []
    for number in range(count):
        path = folder / f"video_{number}.mp4"
        picture = (
            f"perlin=size=320x180:rate=30:octaves=4:xscale=6:yscale=4:tscale=0.5:random_mode=seed:random_seed={number}"
        )
        made = ["-f", "lavfi", "-i", f"{picture},scale=1280:720,format=yuv420p,eq=contrast=3"]
        looped = ["-stream_loop", "-1", "-i", str(source)]
        subprocess.run(
            [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *(looped if source else made), "-t", str(seconds), "-an",
             "-vf", "scale=1280:720,fps=30", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", str(path)],
            check=True,
        )  # fmt: skip
        videos.append(path)
    return videos


def bare(videos: list[Path], out: Path, workers: int) -> None:
    out.mkdir()

    def encode(video: Path) -> None:
        subprocess.run(
            [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-threads", "1", "-i", str(video), *BARE, str(out / video.name)],
            check=True,
        )  # fmt: skip

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(encode, videos))


def ours(videos: list[Path], out: Path, cluster: LazyCluster, *, embed: bool) -> None:
    context, folder = RunContext(cluster), str(videos[0].parent)
    vectors = EmbedStage(str(out), video_dir=folder) if embed else None
    result = SplitStage(folder, str(out), vectors=vectors).run(context=context)
    assert result.counts["clips_failed"] == 0, result.failures
    if vectors:
        assert vectors.run(context=context).counts["clips_failed"] == 0


def timed(work: Callable[[Path], None]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process, its workers and all their children that have ended."""
    with tempfile.TemporaryDirectory() as scratch:
        before, start = _cpu_s(), time.monotonic()
        work(Path(scratch, "out"))
        return time.monotonic() - start, _cpu_s() - before


def _cpu_s() -> float:
    """CPU seconds of the whole process tree. Linux adds the time of a child that has ended to its parent's."""
    import psutil

    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        videos = make_videos(_folder(scratch, "videos"), options.videos, options.seconds, options.source)
        settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
        with LazyCluster(settings) as cluster:
            ours(videos, Path(scratch, "warm"), cluster, embed=True)
            shutil.rmtree(Path(scratch, "warm"))
            rounds = [
                {
                    "bare ffmpeg": timed(lambda out: bare(videos, out, options.workers)),
                    "split": timed(lambda out: ours(videos, out, cluster, embed=False)),
                    "split + embed": timed(lambda out: ours(videos, out, cluster, embed=True)),
                }
                for _ in range(options.rounds)
            ]
    report(rounds, options)


def report(rounds: list[dict[str, tuple[float, float]]], options: argparse.Namespace) -> None:
    print(f"{options.videos} videos of {options.seconds:g} s, 1280x720 at 30 fps, {options.workers} workers")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {ffmpeg_version()}\n")
    print(f"{'':16}{'wall s':>10}{'CPU s':>10}{'wall ratio':>12}{'CPU ratio':>12}{'limit':>8}")
    figures = {}
    for name in rounds[0]:
        wall, cpu = (statistics.median(one[name][i] for one in rounds) for i in (0, 1))
        ratios = [statistics.median(one[name][i] / one["bare ffmpeg"][i] for one in rounds) for i in (0, 1)]
        limit = f"{LIMITS[name]:.2f}" if name in LIMITS else ""
        print(f"{name:16}{wall:>10.2f}{cpu:>10.2f}{ratios[0]:>12.3f}{ratios[1]:>12.3f}{limit:>8}")
        figures[name] = {"wall_s": wall, "cpu_s": cpu, "wall_ratio": ratios[0], "cpu_ratio": ratios[1]}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _folder(*parts: str) -> Path:
    path = Path(*parts)
    path.mkdir(parents=True)
    return path


if __name__ == "__main__":
    main()
