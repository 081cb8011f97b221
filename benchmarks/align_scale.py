"""Alignment of many clips: are planted copies found, are other clips left alone, and how do time, memory and disk grow?

    python -m benchmarks.align_scale [--clips 5000 20000] [--exhaustive]

The tracks are simulated: videos of five clips of ten seconds, smooth random change on a standing picture. Of ten videos

* one holds 10 to 40 s of an earlier video, with noise, between other scenes, at any place;
* one is still: five slides, of which every second is a slide of an earlier video, with noise;
* one begins with the same five seconds as all others of its kind, an intro.

A planted stretch counts as found if overlaps cover at least 80 % of it. A false pair is an overlap of two videos that share
nothing. An intro joins two clips if 8 of 10 seconds of one of them are covered. Time is wall time of the align
stage with 2 workers; memory is that of all processes at the same moment; disk is what the stage fills besides the tracks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.whole_dedup import Watch
from curator_dask.data.beside_vectors.track_files import TrackRow, write_tracks
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.align.stage import AlignStage
from curator_dask.stages.base import RunContext

DIMENSION, CLIP_WINDOWS, CLIPS_PER_VIDEO = 66, 20, 5
VIDEO_WINDOWS = CLIP_WINDOWS * CLIPS_PER_VIDEO
VIDEOS_PER_FILE = 200
INTRO_WINDOWS = 10
NOISE, PICTURE_NOISE = 12.0, 1.5
"""The second one in grey levels. What light edits leave on the mean pictures of real slides is .2 to 1.4 for half of the
slides and up to 2.6 (brighter, with clipped whites), see the results of `benchmarks.alignment`."""
FOUND = 0.8
JOINED_S = 7.5
COLUMNS = (
    "clips", "s", "s per 1000 clips", "GB: memory, disk", "stretches found", "slides found", "false pairs",
    "joined by intros", "overlaps", "load",
)  # fmt: skip
ORIGINALS, COPY, STILL, INTRO = range(7), 7, 8, 9


@dataclass
class Planted:
    """What the simulated videos share."""

    stretches: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Copy, original, first and last window in the copy."""
    intros: set[str] = field(default_factory=set)
    original_of: dict[str, str] = field(default_factory=dict)
    """The original of each copy."""
    slides: dict[str, list[str]] = field(default_factory=dict)
    """The videos that show each slide."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--exhaustive", action="store_true", help="compare all pairs of lines instead")
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as scratch:
            print(measure(Path(scratch), clips, options), flush=True)


def measure(scratch: Path, clips: int, options: argparse.Namespace) -> str:
    planted = write_videos(scratch / "vectors", clips // CLIPS_PER_VIDEO)
    watch = Watch(str(scratch))
    settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
    stage = AlignStage(
        input_path=str(scratch / "vectors"), output_path=str(scratch / "out"),
        exhaustive_groups=10**6 if options.exhaustive else 0,
    )  # fmt: skip
    with LazyCluster(settings) as cluster, watch.looking():
        began = time.perf_counter()
        stage.run(context=RunContext(cluster))
        seconds = time.perf_counter() - began
    rows = pq.read_table(scratch / "out" / layout.OVERLAPS_TABLE).to_pylist()
    shutil.rmtree(scratch / "out")
    found = judge(planted, rows)
    memory, disk = watch.peak_bytes / 1e9, watch.peak_disk / 1e9
    cells = [
        f"{clips:,}", f"{seconds:.0f}", f"{seconds / clips * 1000:.2f}", f"{memory:.1f}, {disk:.2f}", *found,
        f"{len(rows):,}", f"{os.getloadavg()[0]:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def write_videos(folder: Path, num_videos: int) -> Planted:
    planted = Planted()
    for start in range(0, num_videos, VIDEOS_PER_FILE):
        rows = [
            row for number in range(start, min(start + VIDEOS_PER_FILE, num_videos)) for row in _clips(number, planted)
        ]
        write_tracks(Folder(str(folder)), f"{layout.TRACKS}/part-{start:07d}.parquet", rows)
    return planted


def _name(number: int) -> str:
    return f"video-{number:07d}"


def _clips(number: int, planted: Planted) -> Iterator[TrackRow]:
    if number % 10 == STILL:
        yield from _slides(number, planted)
        return
    windows = np.rint(_windows(number, planted)).astype(np.int16)
    for clip in range(CLIPS_PER_VIDEO):
        part = windows[clip * CLIP_WINDOWS : (clip + 1) * CLIP_WINDOWS]
        track = ClipTrack(clip * CLIP_WINDOWS / 2, part, np.ones(len(part), np.bool_), *_no_stills())
        yield TrackRow(f"{_name(number)}-{clip}", _name(number), track)


def _windows(number: int, planted: Planted) -> NDArray[np.float64]:
    random = np.random.default_rng([1, number])
    windows = scene(number)
    if number % 10 == INTRO:
        planted.intros.add(_name(number))
        windows[:INTRO_WINDOWS] = scene(-1)[:INTRO_WINDOWS] + random.normal(0, NOISE, (INTRO_WINDOWS, DIMENSION))
    if number % 10 == COPY:
        original = int(random.integers(0, number // 10 + 1)) * 10 + int(random.choice(ORIGINALS))
        length = int(random.integers(20, 81))
        first, first_y = (int(random.integers(0, VIDEO_WINDOWS - length + 1)) for _ in range(2))
        shared = scene(original)[first_y : first_y + length]
        windows[first : first + length] = shared + random.normal(0, NOISE, shared.shape)
        planted.stretches.append((_name(number), _name(original), first, first + length))
        planted.original_of[_name(number)] = _name(original)
    return windows


def _slides(number: int, planted: Planted) -> Iterator[TrackRow]:
    random = np.random.default_rng([2, number])
    windows = np.rint(np.repeat(scene(number)[:1], CLIP_WINDOWS, axis=0)).astype(np.int16)
    for clip in range(CLIPS_PER_VIDEO):
        video, place = number, clip
        if clip % 2 and number > 10:  # a slide that is no copy itself
            video, place = int(random.integers(0, number // 10)) * 10 + STILL, 2 * int(random.integers(0, 3))
        picture = slide(video, place) + random.normal(0, PICTURE_NOISE if video != number else 0, 1024)
        planted.slides.setdefault(f"{video}-{place}", []).append(f"{_name(number)}-{clip}")
        pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(1, -1)
        stills = np.array([[0, CLIP_WINDOWS]], np.int32)
        track = ClipTrack(clip * CLIP_WINDOWS / 2, windows, np.ones(CLIP_WINDOWS, np.bool_), stills, pixels)
        yield TrackRow(f"{_name(number)}-{clip}", _name(number), track)


def _no_stills() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    return np.zeros((0, 2), np.int32), np.zeros((0, 1024), np.uint8)


def scene(number: int) -> NDArray[np.float64]:
    """(W, 66) the windows of a video: a standing picture, and smooth random change with .3 to 1 of its length."""
    random = np.random.default_rng([3, number + 1])
    standing = random.normal(0, 40, DIMENSION)
    steps = np.cumsum(random.normal(0, 1, (VIDEO_WINDOWS + 5, DIMENSION)), axis=0)
    return standing + (steps[5:] - steps[:-5]) / 5**0.5 * 40 * random.uniform(0.3, 1)


def slide(video: int, place: int) -> NDArray[np.float64]:
    """(1024,) smooth random grey levels."""
    coarse = np.random.default_rng([4, video, place]).uniform(30, 220, (16, 16))
    return np.kron(coarse, np.ones((2, 2))).ravel()


def judge(planted: Planted, rows: list[dict[str, Any]]) -> list[str]:
    """Stretches and slides that are found, false pairs, and clips that are joined by an intro."""
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for one, other, start, end in ((row["id"], row["other_id"], row["start_s"], row["end_s"]),
                                       (row["other_id"], row["id"], row["other_start_s"], row["other_end_s"])):  # fmt: skip
            at = int(one[-1]) * CLIP_WINDOWS / 2
            pairs[one[:-2], other[:-2]].append((at + start, at + end))
    found = [
        _covered(pairs.get((copy, original), []), first / 2, stop / 2) >= FOUND * (stop - first) / 2
        for copy, original, first, stop in planted.stretches
    ]
    false = {tuple(sorted(pair)) for pair in pairs if not _share(planted, *pair)}
    joined = sum(
        end - start > JOINED_S for (x, y), spans in pairs.items() if {x, y} <= planted.intros for start, end in spans
    )
    slides = _slides_found(planted, rows)
    return [f"{np.mean(found):.4f} of {len(found)}", slides, f"{len(false)}", f"{joined}"]


def _covered(spans: list[tuple[float, float]], start: float, end: float) -> float:
    """Seconds of [start, end) that the spans cover."""
    halves = np.zeros(VIDEO_WINDOWS * 2, np.bool_)
    for first, stop in spans:
        halves[int(4 * max(first, start) / 2) : max(0, int(4 * min(stop, end) / 2))] = True
    return float(halves.sum()) / 2


def _share(planted: Planted, x: str, y: str) -> bool:
    """Whether two videos share anything: an original, an intro, or slides (whose pairs are all taken for right)."""
    original = [planted.original_of.get(video, video) for video in (x, y)]
    still = all(int(video[-1]) == STILL for video in (x, y))
    return original[0] == original[1] or {x, y} <= planted.intros or still


def _slides_found(planted: Planted, rows: list[dict[str, Any]]) -> str:
    """Slides that are linked with the first that shows the same, and pairs of slides that do not show the same."""
    same = {clip: clips[0] for clips in planted.slides.values() for clip in clips}
    pairs = {(row["id"], row["other_id"]) for row in rows if row["kind"] == "still"}
    wrong = sum(same.get(one) != same.get(other) for one, other in pairs)
    linked = {clip for pair in pairs for clip in pair if same.get(pair[0]) == same.get(pair[1])}
    shown = [clip for clips in planted.slides.values() if len(clips) > 1 for clip in clips]
    share = np.mean([clip in linked for clip in shown]) if shown else 1.0
    return f"{share:.4f} of {len(shown)}, {wrong} wrong"


if __name__ == "__main__":
    main()
