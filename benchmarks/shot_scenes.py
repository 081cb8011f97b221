"""Scenes that hold no cut, for `benchmarks.shots`: pieces of real videos, looked at frame by frame, and rendered ones.

A real scene is named by its file and its frames. Scenes are in two halves, so that a rule can be tuned on films of one half
and judged on films of the other; scenes of one film or place are in one half.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.near_duplicates import REAL
from curator_dask.video.process.ffmpeg import ffmpeg_path

Frames = npt.NDArray[np.uint8]
"""(N, height, width, 3) RGB."""
Random = np.random.Generator
HALVES = ("tuning", "held-out")


@dataclass(frozen=True)
class Scene:
    """A stretch of a video, or of one of ffmpeg's sources, without a cut."""

    name: str
    first: int
    after: int
    source: str = ""
    """Of a rendered scene: an input of ffmpeg's lavfi."""


REAL_SCENES = {
    "tuning": (
        Scene("bbb_30s_vp8_vorbis.webm", 284, 375), Scene("bbb_30s_vp8_vorbis.webm", 377, 496),
        Scene("bbb_30s_vp8_vorbis.webm", 552, 719), Scene("bbb_firstpts10_sar.mp4", 7, 119),
        Scene("cosmos_30s_480p24.mp4", 110, 150), Scene("cosmos_30s_480p24.mp4", 495, 522),
        Scene("cosmos_30s_480p24.mp4", 524, 572), Scene("cosmos_30s_480p24.mp4", 575, 609),
        Scene("cosmos_30s_480p24.mp4", 653, 705), Scene("pancake_10s.mkv", 0, 300),
        Scene("iphone_rot90_gps.mov", 0, 119), Scene("car_30s_432p12_5_aac.mp4", 0, 376),
        Scene("h264_in_avi_30s.avi", 0, 900),
    ),
    "held-out": (
        Scene("bbb_30s_vp8_vorbis.webm", 60, 282), Scene("bunny_1080p60.ts", 0, 21), Scene("bunny_1080p60.ts", 22, 119),
        Scene("neardup_chair19.mp4", 0, 563), Scene("hdr10_av1_10bit_portrait.mp4", 0, 126),
        Scene("hevc10_editlist_rot90.mp4", 0, 76), Scene("xvid_bframes_nomono.avi", 0, 160),
        Scene("desks_bad_utf8_tag.3gp", 0, 70), Scene("bottle_40s_360p29_83.mp4", 0, 1188),
    ),
}  # fmt: skip
STILL_SCENES = {
    "tuning": (
        Scene("car_30s_432p12_5_aac.mp4", 0, 376), Scene("h264_in_avi_30s.avi", 0, 900),
        Scene("bbb_30s_vp8_vorbis.webm", 377, 496), Scene("bbb_30s_vp8_vorbis.webm", 552, 719),
    ),
    "held-out": (
        Scene("bottle_40s_360p29_83.mp4", 0, 1188), Scene("xvid_bframes_nomono.avi", 0, 160),
        Scene("hdr10_av1_10bit_portrait.mp4", 0, 126), Scene("bunny_1080p60.ts", 22, 119),
    ),
}  # fmt: skip
REAL_SLIDES = {
    "tuning": tuple(Scene("v2d_122s_1080p30_aac.mp4", first, first + 80) for first in (20, 240, 2110)),
    "held-out": tuple(Scene("v2d_122s_1080p30_aac.mp4", first, first + 80) for first in (1560, 2700, 2800, 3420)),
}
_PERLIN = "perlin=size=96x54:rate=24:octaves=3:persistence=0.6:xscale=4:yscale=3:tscale=0.35:random_mode=seed"
_COLOURS = "format=yuv420p,eq=contrast=5,colorchannelmixer=rb=0.4:bg=0.5"


def _noise(seed: int, contrast: int = 5) -> Scene:
    colours = _COLOURS.replace("contrast=5", f"contrast={contrast}")
    return Scene(f"noise {seed}", 0, 200, f"{_PERLIN}:random_seed={seed},{colours}")


RENDERED_SCENES = {
    "tuning": (
        _noise(1), _noise(2, 2), _noise(3), Scene("fractal", 0, 200, "mandelbrot=size=320x180:rate=24"),
        Scene("life", 0, 150, "life=size=160x90:rate=24:seed=4:mold=20:life_color=green:death_color=navy"),
    ),
    "held-out": (
        _noise(5), _noise(6, 2), _noise(7), Scene("pattern", 0, 200, "testsrc2=size=320x180:rate=24"),
        Scene("colours", 0, 200, "gradients=size=320x180:rate=24:seed=9:speed=0.05"),
    ),
}  # fmt: skip


def read_scene(scene: Scene, first: int, count: int, size: tuple[int, int]) -> Frames:
    """`count` frames from frame `first` of the video on, cropped to fill the size."""
    width, height = size
    source = ["-f", "lavfi", "-i", scene.source] if scene.source else ["-i", str(REAL / scene.name)]
    fitted = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},setsar=1"
    chosen = f"trim=start_frame={first}:end_frame={first + count},{fitted}"
    argv = [ffmpeg_path(), "-nostdin", "-v", "error", *source, "-an", "-vf", chosen, "-fps_mode", "passthrough"]
    argv += ["-frames:v", str(count), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(argv, check=True, capture_output=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
    if len(frames) != count:
        raise SystemExit(f"{scene.name}: {len(frames)} frames from {first} on, not {count}")
    return frames


def draw_piece(
    scenes: Sequence[Scene], before: Scene | None, random: Random, frames: tuple[int, int]
) -> tuple[Scene, int, int]:
    """A scene other than the one before, and which of its frames: the first and how many."""
    others = [scene for scene in scenes if before is None or scene.name != before.name]
    scene = others[int(random.integers(len(others)))]
    longest = scene.after - scene.first
    count = min(int(random.integers(frames[0], frames[1] + 1)), longest)
    return scene, scene.first + int(random.integers(longest - count + 1)), count


def pan(picture: Frames, count: int, size: tuple[int, int], random: Random) -> Frames:
    """A camera that pans over a wide picture (height, width, 3), up to a whole picture in a third of a second."""
    width, height = size
    room = picture.shape[1] - width
    speed = min(float(random.choice([2, 6, 15, 40, 80])), room / 2) * width / 640
    start = float(random.uniform(0, room))
    places = np.abs((start + speed * np.arange(count)) % (2 * room) - room).astype(int)  # back and forth
    down = (picture.shape[0] - height) // 2
    return np.stack([picture[down : down + height, x : x + width] for x in places])


def slide(size: tuple[int, int], random: Random) -> Frames:
    """(height, width, 3): a title, lines of words, and often a picture, on a plain ground."""
    width, height = size
    ground = random.choice([[255, 255, 255], [245, 240, 225], [20, 30, 60]])
    ink = 30 if ground[0] > 100 else 230
    picture = np.full((height, width, 3), ground, np.uint8)
    _write_words(picture, (width // 8, height // 12), width // 2, height // 14, ink, random)
    for line in range(int(random.integers(2, 8))):
        _write_words(picture, (width // 12, height // 4 + line * height // 12), width // 2, height // 30, ink, random)
    if random.random() < 0.5:
        coloured = random.integers(0, 255, (4, 5, 3)).astype(np.uint8)
        inset = np.kron(coloured, np.ones((height // 10, width // 14, 1), np.uint8))
        picture[height // 3 :, -width // 2 + width // 14 :][: inset.shape[0], : inset.shape[1]] = inset
    return picture


def _write_words(picture: Frames, corner: tuple[int, int], length: int, tall: int, ink: int, random: Random) -> None:
    """Words as a row of thin strokes."""
    x, y = corner
    end = x + int(length * random.uniform(0.3, 1.0))
    while x < end:
        for _ in range(int(random.integers(2, 10))):
            picture[y : y + tall, x : x + max(tall // 6, 1)] = ink
            x += max(tall // 2, 2)
        x += tall
