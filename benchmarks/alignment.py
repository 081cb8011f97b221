"""Is the same moment found, whatever was done to the copy and whenever it begins, and no other moment?

    python -m benchmarks.alignment [--video-dir DIR ...] [--edits 15] [--shifts 0 0.4 1.5 3.7 5] [--seconds 10 4]

Every video is compared with an edited copy of itself that begins later, and with all other videos and their copies. A clip
of a copy counts as found if clips of the original cover at least 80 % of the part of it that has an original. Clips of
which less than half has an original are left out, and so are plain clips. A false pair is an overlap of two videos that do
not show the same, or of one video at another offset than the true one.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.near_duplicates import REAL, SAME
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import ClipTrack, Line, lay_out
from curator_dask.dedup.align.pairs import moving_overlaps, still_overlaps
from curator_dask.dedup.align.runs import Overlap
from curator_dask.dedup.align.seeds import segments_of
from curator_dask.errors import MediaError
from curator_dask.models.pdqf import pdq
from curator_dask.models.pdqf.letterbox import without_bars
from curator_dask.models.pdqf.track import FRAMES_PER_SECOND, track_of_frames
from curator_dask.video.edits import EDITS, Edit, write_edit
from curator_dask.video.frames.read import read_source_frames
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.process.ffmpeg import ffmpeg_path
from curator_dask.video.spans import Span

MOST_S = 60.0
LEAST_S = 4.0
MIN_COVER = 0.8
OFFSET_GOAL_S = 0.3
RULE = FrameRule.rate(FRAMES_PER_SECOND, width=pdq.SIDE, height=pdq.SIDE)


@dataclass(frozen=True)
class Video:
    """One line, and what it was made from."""

    name: str
    edit: Edit | None
    begins_s: float
    """The shift that was asked for."""
    shift_s: float
    """Where the copy begins in the original: the shift, and what the edit cuts off."""
    seconds: float
    line: Line


@dataclass
class Found:
    """Counts of copies over clips."""

    clips: int = 0
    found: int = 0
    offsets: int = 0
    right_offsets: int = 0

    def share(self) -> float:
        return self.found / self.clips if self.clips else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video-dir", action="append", help="default: the project's real test videos")
    parser.add_argument("--edits", nargs="*", help="names of edits (default: all)")
    parser.add_argument("--shifts", nargs="+", type=float, default=[0.0, 0.4, 1.5, 3.7, 5.0])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 4.0])
    parser.add_argument("--lines", type=int, default=360, help="height that videos are scaled to first, to save time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    edits = [edit for edit in EDITS if not options.edits or edit.name in options.edits]
    with tempfile.TemporaryDirectory() as scratch:
        sources = list(prepared(options.video_dir or [str(REAL)], Path(scratch), options.lines))
        print(
            f"{len(sources)} videos of {LEAST_S:g} s and more, the first {MOST_S:g} s of each, at {options.lines} lines"
        )
        for seconds in options.seconds:
            measure(sources, edits, options.shifts, seconds, Path(scratch))


def prepared(folders: Sequence[str], scratch: Path, lines: int) -> Iterator[VideoInfo]:
    """The videos, scaled down and cut to a minute."""
    for path in sorted(path for folder in folders for path in Path(folder).iterdir()):
        small = scratch / f"{path.name}.mp4"
        argv = [ffmpeg_path(), "-v", "error", "-nostdin", "-i", str(path), "-t", str(MOST_S), "-an", "-threads", "1"]
        scale = f"scale=-2:min({lines}\\,ih),scale=trunc(iw/2)*2:trunc(ih/2)*2"
        argv += [
            "-vf",
            scale,
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            "18",
            "-pix_fmt",
            "yuv420p",
            str(small),
        ]
        if path.suffix == ".json" or subprocess.run(argv, capture_output=True, check=False).returncode:
            continue
        try:
            info = probe_video(small)
        except MediaError:
            continue
        if info.duration_s and info.duration_s >= LEAST_S:
            yield info


def measure(
    sources: Sequence[VideoInfo], edits: Sequence[Edit], shifts: Sequence[float], seconds: float, scratch: Path
) -> None:
    originals = [video for info in sources if (video := video_of(info, None, 0.0, seconds)) is not None]
    print(f"\n## Clips of {seconds:g} s\n\n{len(originals)} videos have clips that can be told apart.\n")
    print(
        "| edit | kind | "
        + " | ".join(f"from {shift:g} s" for shift in shifts)
        + " | offset within 0.3 s | false pairs |"
    )
    print("|---|---|" + "---|" * (len(shifts) + 2))
    totals = {kind: Found() for kind in ("light", "hard")}
    false_pairs = report_false(originals, originals, "originals")
    for edit in edits:
        copies = list(copies_of(sources, edit, shifts, seconds, scratch))
        rows = [judged(originals, [copy for copy in copies if copy.begins_s == shift]) for shift in shifts]
        false = report_false(originals, copies, edit.name)
        false_pairs += false
        for found in rows:
            add(totals[edit.kind], found)
        right, told = sum(row.right_offsets for row in rows), sum(row.offsets for row in rows)
        cells = " | ".join(f"{row.share():.1%} of {row.clips}" for row in rows)
        print(f"| {edit.name} | {edit.kind} | {cells} | {right / max(1, told):.1%} of {told} | {false} |", flush=True)
    for kind, goal in (("light", 0.99), ("hard", 0.95)):
        told = f"{totals[kind].share():.1%} of {totals[kind].clips} (goal {goal:.0%})"
        print(f"\n{kind} edits found: {told if totals[kind].share() >= goal else f'**{told}**'}")
    print(f"\nfalse pairs: {false_pairs if not false_pairs else f'**{false_pairs}**'} (goal 0)")


def copies_of(
    sources: Sequence[VideoInfo], edit: Edit, shifts: Sequence[float], seconds: float, scratch: Path
) -> Iterator[Video]:
    for info in sources:
        path = scratch / "copy.mp4"
        try:
            write_edit(info, edit, path)
            copy = probe_video(path)
        except MediaError:
            continue
        for shift_s in shifts:
            video = video_of(copy, edit, shift_s, seconds, name=info.path.name)
            if video is not None:
                yield video


def video_of(info: VideoInfo, edit: Edit | None, shift_s: float, seconds: float, name: str = "") -> Video | None:
    """The line of a video that begins `shift_s` later, cut into clips. None if it has no clip that can be told apart."""
    duration_s = info.duration_s or 0.0
    starts = np.arange(shift_s, duration_s, seconds)
    pairs = [(start, min(start + seconds, duration_s)) for start in starts.tolist()]
    spans = [Span(i, start, end) for i, (start, end) in enumerate(pairs) if end - start >= 2]
    clips = []
    for span, frames in read_source_frames(info, spans, RULE) if spans else ():
        if isinstance(frames, MediaError):
            continue
        picture = torch.from_numpy(without_bars(frames).copy())
        track = track_of_frames(pdq.describe_frames(picture), pdq.luma(picture))
        clips.append(ClipTrack(span.start_s - shift_s, track.windows, track.usable, track.stills, track.pictures))
    line = lay_out(clips)
    trimmed_s = edit.trim_s[0] if edit else 0.0
    return (
        Video(name or info.path.name, edit, shift_s, shift_s + trimmed_s, seconds, line) if line.usable.any() else None
    )


def overlaps_between(x: Sequence[Video], y: Sequence[Video]) -> list[tuple[Video, Video, Overlap]]:
    thresholds = Thresholds()
    one, other = [video.line for video in x], [video.line for video in y]
    same = x is y
    segments = (segments_of(one, thresholds.min_energy), segments_of(other, thresholds.min_energy))
    found = itertools.chain(
        moving_overlaps(one, None if same else other, segments, thresholds),
        still_overlaps(one, None if same else other, thresholds),
    )
    return [(x[i], y[j], overlap) for i, j, overlap in found]


def judged(originals: Sequence[Video], copies: Sequence[Video]) -> Found:
    """How many clips of the copies are covered by their originals."""
    result = Found()
    by_name = {video.name: video for video in originals}
    for copy in copies:
        original = by_name.get(copy.name)
        if original is None:
            continue
        covered = np.zeros(len(copy.line), np.bool_)
        for _, _, overlap in overlaps_between([original], [copy]):
            covered[overlap.first_y : overlap.stop_y] = True
            if not overlap.still:
                result.offsets += 1
                result.right_offsets += abs(overlap.offset / 4 - copy.shift_s) <= OFFSET_GOAL_S
        count_clips(result, original, copy, covered)
    return result


def count_clips(result: Found, original: Video, copy: Video, covered: np.ndarray) -> None:
    num_windows = round(copy.seconds * 2)
    has_original = np.arange(len(copy.line)) + 2 * copy.shift_s < len(original.line)
    for first in range(0, len(copy.line), num_windows):
        clip = slice(first, min(first + num_windows, len(copy.line)))
        usable = copy.line.usable[clip] & has_original[clip]
        if usable.sum() * 2 >= clip.stop - clip.start and clip.stop - clip.start >= 4:
            result.clips += 1
            result.found += bool(covered[clip][usable].mean() >= MIN_COVER)


def report_false(originals: Sequence[Video], copies: Sequence[Video], what: str) -> int:
    """Count the overlaps that are none, and name them."""
    count = 0
    for x, y, overlap in overlaps_between(originals, copies):
        if x.name != y.name:
            wrong = not show_the_same(x.name, y.name)
        else:
            wrong = not overlap.still and abs(overlap.offset / 4 - (y.shift_s if x is not y else 0.0)) >= LEAST_S
        if wrong:
            count += 1
            times = f"{overlap.first_x / 2:g} s and {overlap.first_y / 2:g} s, {overlap.num_windows / 2:g} s long"
            print(
                f"<!-- false: {what}: {x.name}, {y.name}: {times}, motion {overlap.motion:.2f}, still {overlap.still} -->"
            )
    return count


def show_the_same(one: str, other: str) -> bool:
    names = {name.removesuffix(".mp4") for name in (one, other)} | {one, other}
    return any(len(names & set(group)) >= 2 for group in SAME)


def add(total: Found, found: Found) -> None:
    total.clips += found.clips
    total.found += found.found


if __name__ == "__main__":
    main()
