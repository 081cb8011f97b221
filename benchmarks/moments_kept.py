"""Does one `run` keep every moment once, whenever a copy starts and whatever was done to it?

    python -m benchmarks.moments_kept [--shifts 0 0.5 3.7] [--videos NAME …]

The first minute of four real videos (a film, cars, bottles, slides), and of each a copy: cut off by a shift at the start, or
edited as well. Each row is one `run` on all eight files with its defaults. The originals alone set the goal: what a run on them
keeps. "Times kept" is the seconds of kept clips over those that the originals alone keep: 1 is right, up to 1.05 is allowed.
"Kept of both" counts the clips of originals that lost one of their own moments: no kept clip lies where they lie. "Share of
align" is its time over that of the whole run.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import curator_dask
from benchmarks.near_duplicates import REAL
from curator_dask.files import layout
from curator_dask.video.edits import EDITS, Edit, write_edit
from curator_dask.video.probe import probe_video
from curator_dask.video.process.ffmpeg import ffmpeg_path

VIDEOS = ("cosmos_30s_480p24.mp4", "car_30s_432p12_5_aac.mp4", "bottle_40s_360p29_83.mp4", "v2d_122s_1080p30_aac.mp4")
SECONDS, LINES = 60, 240
SHIFTS_S = (0.0, 0.5, 1.0, 2.0, 3.0, 3.7, 5.0)
EDITED_SHIFT_S = 3.7
COVER = 0.8
MOST_TIMES_KEPT = 1.05
COLUMNS = ("copies", "clips", "kept", "goal", "times kept", "moments lost", "align s of run s")
PLAIN = Edit("cut off", "late", crf=28)


@dataclass(frozen=True)
class Clip:
    """A kept clip, at its place in the original video."""

    video: str
    start_s: float
    end_s: float

    def covered_by(self, others: Sequence[Clip]) -> float:
        """The share of this clip that others show."""
        spans = sorted((o.start_s, o.end_s) for o in others if o.video == self.video)
        seconds, reached = 0.0, self.start_s
        for start, end in spans:
            seconds += max(0.0, min(end, self.end_s) - max(start, reached))
            reached = max(reached, end)
        return seconds / (self.end_s - self.start_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shifts", type=float, nargs="+", default=list(SHIFTS_S))
    parser.add_argument("--videos", nargs="+", default=list(VIDEOS), help="names of the project's real test videos")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        originals = [shortened(REAL / name, folder / "videos") for name in options.videos]
        alone, _, _ = kept_by_run(folder / "videos", folder / "out", 0.0)
        print(f"the originals alone: {len(alone)} clips kept\n")
        print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
        for number, (name, edit, shift) in enumerate(ways(options.shifts)):
            for path in originals:
                write_edit(probe_video(path), replace(edit, trim_s=(shift, 0.0)), path.with_name(f"copy_{path.name}"))
            kept, planned, times = kept_by_run(folder / "videos", folder / f"out{number}", shift)
            print(row_of(name, alone, kept, planned, times), flush=True)


def ways(shifts: Sequence[float]) -> Iterator[tuple[str, Edit, float]]:
    for shift in shifts:
        yield f"begin {shift:g} s later, CRF {PLAIN.crf}", PLAIN, shift
    for edit in EDITS:
        if edit.kind != "late" and not any(edit.trim_s):
            yield f"{edit.name}, begin {EDITED_SHIFT_S:g} s later", edit, EDITED_SHIFT_S


def shortened(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    short = folder / f"{path.stem}.mp4"
    subprocess.run(
        [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-i", str(path), "-t", str(SECONDS), "-an", "-vf", f"scale=-2:{LINES}",
         "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", str(short)],
        check=True,
    )  # fmt: skip
    return short


def kept_by_run(videos: Path, out: Path, shift_s: float) -> tuple[list[Clip], int, tuple[float, float]]:
    """The kept clips, the number of all clips, and the seconds of align and of the whole run."""
    began = time.perf_counter()
    result = curator_dask.curate(str(videos), str(out))
    seconds = time.perf_counter() - began
    rows = pq.read_table(out / layout.CLIP_INDEX).to_pylist()
    kept = set((out / layout.DUPLICATES / layout.KEEP_LIST).read_text().split())
    return (
        [_placed(row, shift_s) for row in rows if row["id"] in kept],
        len(rows),
        (result.stage("align").seconds, seconds),
    )


def _placed(row: dict[str, Any], shift_s: float) -> Clip:
    name = Path(row["source_video"]).name
    moved = shift_s if name.startswith("copy_") else 0.0
    return Clip(name.removeprefix("copy_"), row["start_s"] + moved, row["end_s"] + moved)


def row_of(name: str, alone: Sequence[Clip], kept: Sequence[Clip], planned: int, times: tuple[float, float]) -> str:
    seconds = [sum(clip.end_s - clip.start_s for clip in clips) for clips in (alone, kept)]
    times_kept = seconds[1] / seconds[0]
    lost = sum(clip.covered_by(kept) < COVER for clip in alone)
    cells = [
        name, str(planned), bold(str(len(kept)), len(kept) == len(alone)), str(len(alone)),
        bold(f"{times_kept:.2f}", times_kept <= MOST_TIMES_KEPT), bold(str(lost), lost == 0), f"{times[0]:.1f} of {times[1]:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def bold(text: str, good: bool) -> str:
    return text if good else f"**{text}**"


if __name__ == "__main__":
    main()
