"""Is the same moment found, whatever was done to the copy and whenever it begins, and no other moment?

    python -m benchmarks.alignment [--video-dir DIR ...] [--edits NAME ...] [--shifts 0 0.4 1.5 3.7 5] [--seconds 10 4]
                                   [--tracks DIR] [--mirrored]

Every video is compared with edited copies of itself that begin later, and with all other videos and their copies. A clip
of a copy counts as found if clips of the original cover at least 80 % of the part of it that has an original. Clips of
which less than half has an original are left out, and so are plain clips. A false pair is

* an overlap of two videos that do not show the same;
* an overlap of one video at another offset than the true one, where something moves;
* two still stretches of one video whose pictures differ: in a tile of 16x16 pixels of the originals, the mean grey levels
  are more than 6 apart, of 255, or single pixels are 24 apart on average.

With --mirrored, the copies are mirrored and nothing else; and the originals are compared with their own mirrored lines too, for
false pairs.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.alignment_tracks import LEAST_S, MOST_S, Cut, Video, small_copies, videos_of
from benchmarks.near_duplicates import REAL, SAME
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.mirror import mirrored as mirrored_line
from curator_dask.dedup.align.pairs import moving_overlaps, still_overlaps
from curator_dask.dedup.align.runs import Overlap
from curator_dask.dedup.align.seeds import segments_of
from curator_dask.dedup.align.short_lines import short_overlaps
from curator_dask.video.edits import EDITS, Edit
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process.ffmpeg import ffmpeg_path

MIRRORED = Edit("mirrored", "light", "hflip")
MIN_COVER = 0.8
OFFSET_GOAL_S = 0.3
GOALS = (("light", 0.99), ("hard", 0.95))
TILE = 16
TILE_APART, PIXEL_APART = 6.0, 24.0


@dataclass
class Found:
    """Counts of copies over clips."""

    clips: int = 0
    found: int = 0
    offsets: int = 0
    right_offsets: int = 0

    def share(self) -> float:
        return self.found / self.clips if self.clips else float("nan")

    def add(self, other: Found) -> None:
        self.clips += other.clips
        self.found += other.found
        self.offsets += other.offsets
        self.right_offsets += other.right_offsets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video-dir", action="append", help="default: the project's real test videos")
    parser.add_argument("--edits", nargs="*", help="names of edits (default: all)")
    parser.add_argument("--shifts", nargs="+", type=float, default=[0.0, 0.4, 1.5, 3.7, 5.0])
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 4.0])
    parser.add_argument("--lines", type=int, default=360, help="height that videos are scaled to first, to save time")
    parser.add_argument("--mirrored", action="store_true", help="mirrored copies instead of other edits")
    parser.add_argument("--tracks", help="a folder that keeps the tracks for the next run")
    parser.add_argument("--missed", action="store_true", help="name the clips that are missed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        compare_all(options, Path(options.tracks or scratch))


def compare_all(options: argparse.Namespace, folder: Path) -> None:
    sources = small_copies(options.video_dir or [str(REAL)], folder / "small", options.lines)
    edits = [edit for edit in EDITS if not options.edits or edit.name in options.edits]
    edits = [MIRRORED] if options.mirrored else edits
    cuts = [Cut(seconds, shift) for seconds in options.seconds for shift in options.shifts]
    print(f"{len(sources)} videos of {LEAST_S:g} s and more, the first {MOST_S:g} s of each, at {options.lines} lines")
    begin = [Cut(seconds, 0.0) for seconds in options.seconds]
    originals = all_videos(sources, None, begin, folder)
    copies = {edit: all_videos(sources, edit, cuts, folder) for edit in edits}
    if options.mirrored:
        copies = {MIRRORED: turned(copies[MIRRORED])}
    for seconds in options.seconds:
        mine = [video for video in originals if video.cut.seconds == seconds]
        theirs = {edit: [copy for copy in copies[edit] if copy.cut.seconds == seconds] for edit in edits}
        Table(sources, options.shifts, options.missed).print(seconds, mine, theirs)


def all_videos(sources: Sequence[VideoInfo], edit: Edit | None, cuts: Sequence[Cut], folder: Path) -> list[Video]:
    return [video for info in sources for video in videos_of(info, edit, cuts, folder)]


class Table:
    """Compares copies with originals, edit by edit, and prints one line for each."""

    def __init__(self, sources: Sequence[VideoInfo], shifts: Sequence[float], missed: bool) -> None:
        self.sources = {info.path.name: info for info in sources}
        self.shifts = shifts
        self.missed = missed

    def print(self, seconds: float, originals: Sequence[Video], copies: dict[Edit, list[Video]]) -> None:
        head = ["edit", "kind", *(f"from {shift:g} s" for shift in self.shifts), "offset within 0.3 s", "false pairs"]
        print(f"\n## Clips of {seconds:g} s\n\n{len(originals)} videos have clips that can be told apart.\n")
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        totals = {kind: Found() for kind, _ in GOALS}
        false_pairs = self.report_false(originals, originals, "originals")
        if MIRRORED in copies:
            false_pairs += self.report_false(originals, turned(originals), "mirrored originals", mirrored=True)
        for edit, videos in copies.items():
            false = self.report_false(originals, videos, edit.name)
            false_pairs += false
            totals[edit.kind].add(self._print_row(edit, originals, videos, false))
        for kind, goal in GOALS:
            if not totals[kind].clips:
                continue
            told = f"{totals[kind].share():.1%} of {totals[kind].clips}"
            print(f"\n{kind} edits found: {bold(told, totals[kind].share() >= goal)} (goal {goal:.0%})")
        print(f"\nfalse pairs: {bold(str(false_pairs), not false_pairs)} (goal 0)", flush=True)

    def _print_row(self, edit: Edit, originals: Sequence[Video], videos: Sequence[Video], false: int) -> Found:
        rows = [self._judged(edit, originals, videos, shift) for shift in self.shifts]
        total = Found()
        for row in rows:
            total.add(row)
        cells = " | ".join(f"{row.share():.1%} of {row.clips}" for row in rows)
        right = f"{total.right_offsets / max(1, total.offsets):.1%} of {total.offsets}"
        print(f"| {edit.name} | {edit.kind} | {cells} | {right} | {bold(str(false), not false)} |", flush=True)
        return total

    def _judged(self, edit: Edit, originals: Sequence[Video], copies: Sequence[Video], shift: float) -> Found:
        """How many clips of the copies are covered by their originals."""
        result = Found()
        by_name = {video.name: video for video in originals}
        for copy in (copy for copy in copies if copy.cut.begins_s == shift and copy.name in by_name):
            covered = np.zeros(len(copy.line), np.bool_)
            for _, _, overlap in overlaps_between([by_name[copy.name]], [copy]):
                covered[overlap.first_y : overlap.stop_y] = True
                result.offsets += not overlap.still
                result.right_offsets += (
                    not overlap.still and abs(overlap.offset / 4 - copy.shift_s) <= OFFSET_GOAL_S + 1e-9
                )
            for first, found in clips_found(by_name[copy.name], copy, covered):
                result.clips += 1
                result.found += found
                if self.missed and not found:
                    print(f"<!-- missed: {edit.name}, from {shift:g} s: {copy.name} at {first / 2:g} s -->")
        return result

    def report_false(
        self, originals: Sequence[Video], copies: Sequence[Video], what: str, *, mirrored: bool = False
    ) -> int:
        """Count the overlaps that are none, and name them."""
        count = 0
        for x, y, overlap in overlaps_between(originals, copies):
            if self._is_false(x, y, overlap, mirrored):
                count += 1
                times = f"{overlap.first_x / 2:g} s and {overlap.first_y / 2:g} s, {overlap.num_windows / 2:g} s long"
                like = f"motion {overlap.motion:.2f}, energy {overlap.energy:.2f}, picture {overlap.picture:.2f}"
                kind = "still" if overlap.still else "moving"
                print(f"<!-- false: {what}, from {y.cut.begins_s:g} s: {x.name}, {y.name}: {times}, {kind}, {like} -->")
        return count

    def _is_false(self, x: Video, y: Video, overlap: Overlap, mirrored: bool) -> bool:
        if x.name != y.name:
            return not show_the_same(x.name, y.name)
        if overlap.still:
            first_s = middle_s(overlap.first_x, overlap.stop_x)
            second_s = middle_s(overlap.first_y, overlap.stop_y) + y.shift_s
            return pictures_differ(str(self.sources[x.name].path), first_s, second_s, mirrored=mirrored)
        return abs(overlap.offset / 4 - y.shift_s) >= LEAST_S


def overlaps_between(x: Sequence[Video], y: Sequence[Video]) -> list[tuple[Video, Video, Overlap]]:
    """All overlaps of the lines of two sets, as the align stage finds them."""
    thresholds = Thresholds()
    one, other = [video.line for video in x], [video.line for video in y]
    others = None if x is y else other
    segments = (segments_of(one, thresholds.min_energy), segments_of(other, thresholds.min_energy))
    found = itertools.chain(
        moving_overlaps(one, others, segments, thresholds),
        short_overlaps(one, others, thresholds),
        still_overlaps(one, others, thresholds),
    )
    return [(x[i], y[j], overlap) for i, j, overlap in found]


def clips_found(original: Video, copy: Video, covered: np.ndarray) -> Iterator[tuple[int, bool]]:
    """First window of each clip that counts, and whether enough of it is covered."""
    num_windows = round(copy.cut.seconds * 2)
    has_original = np.arange(len(copy.line)) + 2 * copy.shift_s < len(original.line)
    for first in range(0, len(copy.line), num_windows):
        clip = slice(first, min(first + num_windows, len(copy.line)))
        usable = copy.line.usable[clip] & has_original[clip]
        if usable.sum() * 2 >= clip.stop - clip.start and clip.stop - clip.start >= 4:
            yield first, bool(covered[clip][usable].mean() >= MIN_COVER)


def show_the_same(one: str, other: str) -> bool:
    names = {name.removesuffix(".mp4") for name in (one, other)} | {one, other}
    return any(len(names & set(group)) >= 2 for group in SAME)


def middle_s(first: int, stop: int) -> float:
    return (first + stop) / 4


def turned(videos: Sequence[Video]) -> list[Video]:
    """The same videos, mirrored by their tracks."""
    return [replace(video, line=mirrored_line(video.line)) for video in videos]


def pictures_differ(path: str, one_s: float, other_s: float, *, mirrored: bool) -> bool:
    """Whether the pictures of a video at two times differ, tile by tile; `mirrored`: the second one is mirrored first."""
    other = picture_at(path, other_s)
    difference = picture_at(path, one_s) - (other[:, ::-1] if mirrored else other)
    height, width = (size // TILE * TILE for size in difference.shape)
    tiles = difference[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE)
    levels, pixels = np.abs(tiles.mean(axis=(1, 3))), np.abs(tiles).mean(axis=(1, 3))
    return bool(levels.max() > TILE_APART or pixels.max() > PIXEL_APART)


@functools.lru_cache(maxsize=256)
def picture_at(path: str, time_s: float) -> np.ndarray:
    """(H, W) float64 grey levels."""
    argv = [ffmpeg_path(), "-v", "error", "-nostdin", "-ss", f"{time_s:.3f}", "-i", path, "-frames:v", "1"]
    data = subprocess.run([*argv, "-f", "image2pipe", "-c:v", "pgm", "-"], capture_output=True, check=True).stdout
    _, size, _, levels = data.split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(levels, np.uint8).reshape(height, width).astype(np.float64)


def bold(text: str, good: bool) -> str:
    return text if good else f"**{text}**"


if __name__ == "__main__":
    main()
