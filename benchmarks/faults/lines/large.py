"""Videos that cost more than they look: very many frames, very large pictures, and a very long file with nothing in it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks.faults.job import OWN_WORKER, Job, Started
from benchmarks.faults.line import Asked, Came
from curator_dask.video.process.ffmpeg import global_args

NUM_FRAMES = 1_000_000
LOOPED = 1_000
SIDE = 16_000
ZEROS = 50 * 10**9
MOST_SECONDS = 3600.0
MOST_BYTES = 6 * 10**9
"""Of the run, its worker and ffmpeg together."""
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    status: int | None
    seconds: float
    most_bytes: int
    """Memory of the run and all of its children, at most."""
    num_clips: int
    num_frames: int
    reasons: tuple[str, ...]
    """Of what failed."""

    def __str__(self) -> str:
        came = ", ".join([f"{self.num_clips:,} clips with {self.num_frames:,} frames", *self.reasons])
        return f"{self.seconds:,.0f} s, at most {self.most_bytes / 1e9:.2f} GB of memory, {came}"


def feed_large_videos(asked: Asked, came: Came) -> None:
    """Each is split by itself. Rounds do not count here: nothing is random."""
    for name, (make, num_frames) in LARGE.items():
        videos = asked.folder / name.replace(" ", "-")
        videos.mkdir()
        make(videos)
        cost = split(asked.job, videos, asked.folder / f"{videos.name}-out")
        came.notes.append(f"{name}: {cost}")
        came.done["large videos"] += 1
        bounded = cost.seconds <= MOST_SECONDS and cost.most_bytes <= MOST_BYTES
        came.expect(bounded, "bounded in time and memory", f"{name}: {cost}")
        all_counted = cost.status == 0 and (cost.num_frames == num_frames or bool(cost.reasons))
        came.expect(all_counted, "all frames in clips, or a failure with its reason", f"{name}: {cost.status}, {cost}")


def split(job: Job, videos: Path, out: Path) -> Cost:
    began = time.monotonic()
    run = job.command("split", "--video-dir", str(videos), "--output-path", str(out), "--quiet", *OWN_WORKER)
    most_bytes = _most_bytes(run, began + MOST_SECONDS)
    status = run.wait(1.0)
    seconds = time.monotonic() - began
    index, failures = out / "clips.parquet", out / ".curator" / "split" / "failures.jsonl"
    rows = pq.read_table(index).to_pylist() if index.exists() else []
    lines = failures.read_text().splitlines() if failures.exists() else []
    frames = sum(row["num_frames"] for row in rows if row["valid"])
    reasons = tuple(sorted({json.loads(line)["reason"] for line in lines}))
    return Cost(status, seconds, most_bytes, sum(row["valid"] for row in rows), frames, reasons)


def _most_bytes(run: Started, until: float) -> int:
    """Look at the run's memory until it ends."""
    most = 0
    while run.runs() and time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            me = psutil.Process(run.process.pid)
            most = max(most, sum(_bytes_of(one) for one in (me, *me.children(recursive=True))))
        run.process.join(LOOK_EVERY_S)
    return most


def _bytes_of(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _many_frames(folder: Path) -> None:
    """A thousand frames, a thousand times over."""
    once = folder.parent / "once.mp4"
    _render(once, "testsrc2=size=32x32:rate=30", LOOPED)
    loop = ("-stream_loop", str(NUM_FRAMES // LOOPED - 1), "-i", str(once), "-c", "copy")
    _ffmpeg(*loop, str(folder / "many.mp4"))


def _large_pictures(folder: Path) -> None:
    _ffmpeg(
        "-f",
        "lavfi",
        "-i",
        f"color=size={SIDE}x{SIDE}:rate=1",
        "-frames:v",
        "12",
        "-c:v",
        "png",
        str(folder / "wide.mkv"),
    )


def _long_zeros(ending: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        """The zeros take no room on most disks."""
        path = folder / f"zeros{ending}"
        _render(path, "testsrc2=size=160x88:rate=30", 300)
        with path.open("ab") as file:
            file.truncate(path.stat().st_size + ZEROS)

    return make


def _render(path: Path, source: str, num_frames: int) -> None:
    _ffmpeg("-f", "lavfi", "-i", source, "-frames:v", str(num_frames), "-c:v", "libopenh264", str(path))


def _ffmpeg(*words: str) -> None:
    subprocess.run([*global_args(), *words], check=True)


LARGE: dict[str, tuple[Callable[[Path], None], int]] = {
    f"{NUM_FRAMES:,} frames of 32x32": (_many_frames, NUM_FRAMES),
    f"pictures of {SIDE:,}x{SIDE:,}": (_large_pictures, 12),
    "50 GB of zeros behind an MP4 file": (_long_zeros(".mp4"), 300),
    "50 GB of zeros behind a transport stream": (_long_zeros(".ts"), 300),
}
"""What → how it is made, and how many frames it has."""
