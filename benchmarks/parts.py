"""What it costs to cut a video in parts, and what a kill costs then: CPU time of all processes, so it holds on a busy machine.

    python -m benchmarks.parts [--minutes 10] [--part-minutes 1] [--source FILE]

The source, or one minute of made scenes, is repeated without new encoding. Whole and parts are cut one after the other.
Then half of the parts count as done, as after a kill, and the others are cut.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.plan import Part
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.parts.plan import PartPlan, plan_parts
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.process.ffmpeg import ffmpeg_path, ffmpeg_version
from curator_dask.video.samples import render_samples
from curator_dask.video.spans import FixedStride, Span


@dataclass
class Cost:
    """CPU seconds of this process and its children, and how long it took."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    def of(self, work: Callable[[], Any]) -> Any:
        cpu_s, wall_s = cpu_now_s(), time.monotonic()
        result = work()
        self.cpu_s += cpu_now_s() - cpu_s
        self.wall_s += time.monotonic() - wall_s
        return result


def cpu_now_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def make_video(folder: Path, minutes: float, source: Path | None) -> Path:
    if source is None:
        render_samples(folder / "scenes", num_scenes=1, length_s=60.0, size=(640, 360))
        source = min((folder / "scenes").rglob("*.mp4"))
    long = folder / "long.mp4"
    looped = ["-stream_loop", "-1", "-i", str(source), "-t", str(60 * minutes), "-c", "copy", str(long)]
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", "-y", *looped], check=True)
    return long


def cut(info: VideoInfo, spans: tuple[Span, ...], part: Part | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cut_clips(info, spans, TranscodeSettings(), Path(folder), None, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--part-minutes", type=float, default=1.0)
    parser.add_argument("--source", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        info = probe_video(make_video(Path(folder), chosen.minutes, chosen.source))
        spans = FixedStride(10.0).plan(info.duration_s, info.framerate).spans
        measure(info, spans, chosen.part_minutes)


def measure(info: VideoInfo, spans: tuple[Span, ...], part_minutes: float) -> None:
    whole, planned, parts = Cost(), Cost(), []
    whole.of(lambda: cut(info, spans))
    plan: PartPlan = planned.of(lambda: plan_parts(info, spans, TranscodeSettings(), 60 * part_minutes))
    for part in plan.parts:
        parts.append(Cost())
        parts[-1].of(lambda part=part: cut(info, spans, part))
    all_s = planned.cpu_s + sum(one.cpu_s for one in parts)
    minutes, left = (info.duration_s or 0.0) / 60, parts[len(parts) // 2 :]
    more_s = (all_s - whole.cpu_s) / max(1, len(parts) - 1)
    print(f"{info.codec} {info.width}x{info.height}, {minutes:.0f} min in {len(parts)} parts {plan.why_whole}")
    print(f"{ffmpeg_version()}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}\n")
    print("| | CPU s | of the whole |\n|---|---|---|")
    print(f"| in one go | {whole.cpu_s:.1f} | 1 |")
    print(f"| plan of the parts | {planned.cpu_s:.1f} | {planned.cpu_s / whole.cpu_s:.3f} |")
    print(f"| plan and all parts | {all_s:.1f} | {all_s / whole.cpu_s:.3f} |")
    print(f"| after a kill, half of the parts done | {sum(one.cpu_s for one in left):.1f} | "
          f"{sum(one.cpu_s for one in left) / whole.cpu_s:.3f} |")  # fmt: skip
    print(
        f"\nEach border costs {more_s:.2f} CPU s, as much as {more_s / whole.cpu_s * minutes * 60:.1f} s of the video."
    )


if __name__ == "__main__":
    main()
