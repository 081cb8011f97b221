"""Files that are larger than they look, or look larger than they are: time and memory stay bounded, and the record says why."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.job import OWN_WORKER, Started
from benchmarks.faults.line import Asked, Came

ZEROS_BYTES = 50_000_000_000
LOOK_EVERY_S = 0.2
MOST_MB = 3000.0
"""Of the run, its worker and their ffmpegs together, each by its resident memory; pages that they share count more than once."""
MOST_CPU_S = 900.0
"""Of all of them together. It does not depend on what else the machine does."""
MB = 1_000_000
NOTHING_TO_USE = 2
"""The exit status of a run that got no clip."""


def _ffmpeg(*arguments: str) -> None:
    from curator_dask.video.process.ffmpeg import ffmpeg_path

    subprocess.run([ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *arguments], check=True)


def a_million_frames(path: Path) -> None:
    """Of 32x32 pixels, 1,000 in a second: one second a thousand times."""
    second = path.with_name("second.mp4")
    source = ("-f", "lavfi", "-i", "testsrc2=s=32x32:r=1000:d=1", "-c:v", "libx264", "-preset", "ultrafast")
    _ffmpeg(*source, "-g", "250", str(second))
    _ffmpeg("-stream_loop", "999", "-i", str(second), "-c", "copy", str(path))
    second.unlink()


def huge_pictures(path: Path) -> None:
    """16,000x16,000 pixels of one colour: 1.6 MB of file, 768 MB each when decoded."""
    _ffmpeg("-f", "lavfi", "-i", "color=s=16000x16000:r=5:d=0.4", "-c:v", "png", str(path))


def huge_by_its_header(path: Path) -> None:
    """A GIF of 32x32 pixels whose header says 65,535x65,535."""
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:r=5:d=4", str(path))
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff" * 4
    path.write_bytes(data)


def the_largest_pictures(path: Path) -> None:
    """As large as may be: 8192x4320."""
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=s=8192x4320:r=5:d=2", "-c:v", "libx264", "-preset", "ultrafast", str(path))


def zeros(path: Path) -> None:
    """50 GB of zeros that no disk holds, a sparse file."""
    with path.open("wb") as file:
        file.truncate(ZEROS_BYTES)


def zeros_inside(path: Path) -> None:
    """A good video with 50 GB of zeros between its pictures and its header, in a box that says so."""
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x88:r=5:d=4", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path))
    data = path.read_bytes()
    header = data.rindex(b"moov") - 4
    with path.open("wb") as file:
        file.write(data[:header] + (1).to_bytes(4, "big") + b"free" + ZEROS_BYTES.to_bytes(8, "big"))
        file.seek(header + ZEROS_BYTES)
        file.write(data[header:])


@dataclass(frozen=True)
class Large:
    """A file, and what must come of it."""

    name: str
    make: Callable[[Path], None]
    told: str
    """The reason of its failure; empty: it gives clips."""


FILES = (
    Large("pictures of 16000x16000.mkv", huge_pictures, "too-many-pixels"),
    Large("a header of 65535x65535.gif", huge_by_its_header, "no-decodable-frame"),
    Large("pictures of 8192x4320.mp4", the_largest_pictures, ""),
    *(Large(f"50 GB of zeros.{ending}", zeros, "not-a-video") for ending in ("mp4", "mkv", "ts", "mpg", "avi")),
    Large("50 GB of zeros in a good video.mp4", zeros_inside, ""),
    Large("a million frames.mp4", a_million_frames, ""),
)


def feed_large_files(asked: Asked, came: Came, files: Sequence[Large] = FILES) -> None:
    """Each file by itself, with a worker of the run."""
    for large in files:
        folder = asked.folder / "large"
        folder.mkdir()
        large.make(folder / large.name)
        for _ in range(asked.rounds):
            _feed(asked, came, folder, large)
        shutil.rmtree(folder)


def _feed(asked: Asked, came: Came, folder: Path, large: Large) -> None:
    job, began = asked.job, time.monotonic()
    job.clear()
    run = job.command(
        "run", "--video-dir", str(folder), "--output-path", str(job.out), "--fixed-stride-split-duration", "2", "--json",
        *OWN_WORKER,
    )  # fmt: skip
    used = Used.by(run)
    took_s, status, name = time.monotonic() - began, run.wait(), large.name
    told, reasons, num_clips = run.words(), _reasons(job.out), len(list(job.out.glob("clips/*.mp4")))
    outcome = ", ".join(sorted(reasons)) or f"{num_clips:,} clips"
    came.done["runs of one file"] += 1
    came.notes.append(
        f"{name}: {outcome}; {used.cpu_s:,.0f} s of CPU, {took_s:,.0f} s by the clock, {used.most_mb:,.0f} MB at most"
    )
    well = status == (NOTHING_TO_USE if large.told else 0) and "Traceback" not in told
    came.expect(well, "runs that ended well", f"{name}: status {status}: {run.last_words()}")
    right = reasons == {large.told} if large.told else not reasons and num_clips > 0
    came.expect(right, "records that say what it was", f"{name}: {outcome}")
    came.expect(used.most_mb <= MOST_MB, f"at most {MOST_MB:,.0f} MB", f"{name}: {used.most_mb:,.0f} MB")
    came.expect(used.cpu_s <= MOST_CPU_S, f"at most {MOST_CPU_S:,.0f} s of CPU", f"{name}: {used.cpu_s:.0f} s of CPU")


def _reasons(out: Path) -> set[str]:
    path = out / ".curator" / "split" / "failures.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.loads(line)["reason"] for line in lines}


@dataclass
class Used:
    """What a run and all processes below it used, as far as it is seen five times a second."""

    most_mb: float = 0.0
    """The most memory at one time."""
    cpu_of: dict[int, float] = field(default_factory=dict)
    """Seconds of CPU by process."""

    @staticmethod
    def by(run: Started) -> Used:
        """Watch a run until it ends."""
        used = Used()
        while run.runs():
            used.look(run.process.pid or os.getpid())
            run.process.join(LOOK_EVERY_S)
        return used

    @property
    def cpu_s(self) -> float:
        return sum(self.cpu_of.values())

    def look(self, pid: int) -> None:
        memory = 0
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    memory += process.memory_info().rss
                    self.cpu_of[process.pid] = sum(process.cpu_times()[:2])
        self.most_mb = max(self.most_mb, memory / MB)
