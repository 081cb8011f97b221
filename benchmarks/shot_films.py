"""Films joined from scenes without cuts, for `benchmarks.shots`. Where each change lies is known by frame numbers.

The frames are joined in memory and encoded once by ffmpeg, so a frame of the film is a frame of its scene.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.shot_overlays import STANDING, bullets, captions, small_things, standing
from benchmarks.shot_scenes import (
    REAL_SCENES,
    REAL_SLIDES,
    RENDERED_SCENES,
    STILL_SCENES,
    Frames,
    Random,
    Scene,
    draw_piece,
    pan,
    read_scene,
    slide,
)
from curator_dask.video.process.ffmpeg import ffmpeg_path

KINDS = (
    "hard", "low quality", "quick", "fades", "dissolves", "flashes", "pans", "slides", "still",
    "captions", "bullets", "small things", "talks",
)  # fmt: skip
Overlay = Callable[[Frames, str, Random], None]
OVERLAYS: dict[str, Overlay] = {"captions": captions, "bullets": bullets, "small things": small_things}
"""Films of three pieces that stand, in which much appears and vanishes that is no cut."""
PIECES = 12
SECOND = 24
Size = tuple[int, int]


@dataclass
class Film:
    """A video file, and where its changes are."""

    path: Path
    kind: str
    half: str
    hard: list[int] = field(default_factory=list)
    """The first frames of new shots behind hard cuts."""
    soft: list[tuple[int, int]] = field(default_factory=list)
    """The first and last frame of each fade and dissolve: those that show no shot at its full strength."""
    num_frames: int = 0


class FilmWriter:
    """Appends frames to a film, and keeps the truth."""

    def __init__(self, film: Film, size: Size, crf: int) -> None:
        self.film = film
        argv = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        argv += ["-s", f"{size[0]}x{size[1]}", "-r", str(SECOND), "-i", "-", "-c:v", "libx264", "-preset", "veryfast"]
        argv += ["-crf", str(crf), "-pix_fmt", "yuv420p", str(film.path)]
        self._ffmpeg = subprocess.Popen(argv, stdin=subprocess.PIPE)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ffmpeg.stdin
        self._ffmpeg.stdin.close()
        if self._ffmpeg.wait() and error is None:
            raise SystemExit(f"{self.film.path}: ffmpeg failed")

    def write(self, frames: Frames) -> None:
        assert self._ffmpeg.stdin
        self._ffmpeg.stdin.write(np.ascontiguousarray(frames).tobytes())
        self.film.num_frames += len(frames)

    def write_soft(self, frames: Frames) -> None:
        self.film.soft.append((self.film.num_frames, self.film.num_frames + len(frames) - 1))
        self.write(frames)

    def cut(self) -> None:
        self.film.hard.append(self.film.num_frames)


def make_film(path: Path, kind: str, half: str, seed: int, size: Size) -> Film:
    """Write one film, unless it is there with its truth beside it. The same arguments give the same frames."""
    film, random = Film(path, kind, half), np.random.default_rng([seed, KINDS.index(kind)])
    truth = path.with_suffix(".json")
    if truth.exists():
        known = json.loads(truth.read_text())
        return replace(
            film, hard=known["hard"], soft=[tuple(ends) for ends in known["soft"]], num_frames=known["num_frames"]
        )
    pieces = _pieces(kind, half, size, random)
    with FilmWriter(film, size, crf=38 if kind == "low quality" else 23) as writer:
        if kind in ("fades", "dissolves"):
            _join_softly(writer, pieces, random, fades=kind == "fades")
        else:
            for number, frames in enumerate(pieces):
                if number:
                    writer.cut()
                writer.write(_flashed(frames, random) if kind == "flashes" else frames)
    truth.write_text(json.dumps({"hard": film.hard, "soft": film.soft, "num_frames": film.num_frames}))
    return film


def _pieces(kind: str, half: str, size: Size, random: Random) -> Iterator[Frames]:
    if kind == "pans":
        return _panned(half, size, random)
    if kind == "slides":
        return _slides(half, size, random)
    if kind == "talks":
        return _talked(half, size, random)
    if kind in OVERLAYS:
        return _written(OVERLAYS[kind], half, size, random)
    scenes = STILL_SCENES[half] if kind == "still" else (*REAL_SCENES[half], *RENDERED_SCENES[half])
    return _drawn(scenes, random, size, (6, 12) if kind == "quick" else (SECOND, 3 * SECOND))


def _drawn(scenes: tuple[Scene, ...], random: Random, size: Size, frames: tuple[int, int]) -> Iterator[Frames]:
    scene = None
    for _ in range(PIECES):
        scene, first, count = draw_piece(scenes, scene, random, frames)
        yield read_scene(scene, first, count, size)


def _panned(half: str, size: Size, random: Random) -> Iterator[Frames]:
    """Pans over single frames of the scenes, drawn two and a half times as large."""
    scene, large = None, (size[0] * 5 // 4 * 2, size[1] * 5 // 4 * 2)
    for _ in range(PIECES):
        scene, first, _ = draw_piece((*REAL_SCENES[half], *RENDERED_SCENES[half]), scene, random, (SECOND, SECOND))
        picture = read_scene(scene, first, 1, large)[0]
        yield pan(picture, int(random.integers(SECOND, 3 * SECOND)), size, random)


def _slides(half: str, size: Size, random: Random) -> Iterator[Frames]:
    """Real and drawn slides in turn, each without any motion."""
    real = REAL_SLIDES[half]
    for number in range(PIECES):
        count = int(random.integers(SECOND, 3 * SECOND))
        if number % 3 == 0:
            scene = real[number // 3 % len(real)]
            yield read_scene(scene, scene.first, count, size)
        else:
            yield np.repeat(slide(size, random)[None], count, axis=0)


def _talked(half: str, size: Size, random: Random) -> Iterator[Frames]:
    """Slides with a video in a corner that runs on over the cuts: one who speaks."""
    width, height = (
        int(size[0] * random.uniform(0.15, 0.28)) // 2 * 2,
        int(size[1] * random.uniform(0.15, 0.28)) // 2 * 2,
    )
    scene, first, count = draw_piece(REAL_SCENES[half], None, random, (100, 300))
    speaker = read_scene(scene, first, count, (width, height))
    there_and_back, shown = np.concatenate([speaker, speaker[::-1]]), 0
    left = int(random.choice([0, size[0] - width]))
    for frames in _slides(half, size, random):
        frames = frames.copy()
        places = (shown + np.arange(len(frames))) % len(there_and_back)
        frames[:, size[1] - height :, left : left + width] = there_and_back[places]
        shown += len(frames)
        yield frames


def _written(draw: Overlay, half: str, size: Size, random: Random) -> Iterator[Frames]:
    """Three pictures that stand, with what is drawn on them."""
    for kind in random.permutation(STANDING)[:3].tolist():
        frames = standing(kind, half, size, int(random.integers(5, 8)) * SECOND, random)
        draw(frames, half, random)
        yield frames


def _flashed(frames: Frames, random: Random) -> Frames:
    """One flash in the middle of a piece: white that is gone after one to four frames."""
    decay = random.choice([0.0, 0.3, 0.6])
    lit = np.array([1.0, 1.0] if decay == 0 and random.random() < 0.5 else [decay**number for number in range(4)])
    lit = (lit * random.uniform(0.5, 1.0))[lit > 0.05]
    flashed, first = frames.copy(), len(frames) // 2
    part = flashed[first : first + len(lit)].astype(np.float32)
    flashed[first : first + len(lit)] = part + (255 - part) * lit[: len(part), None, None, None]
    return flashed


def _join_softly(writer: FilmWriter, pieces: Iterator[Frames], random: Random, *, fades: bool) -> None:
    waiting = next(pieces)
    for coming in pieces:
        length = int(random.choice([6, 12, 20]))
        # At least one frame: a short scene may be used up by the change before.
        length = max(min(length, len(waiting) - 2, len(coming) - 2), 1)
        writer.write(waiting[:-length])
        end, start = waiting[-length:].astype(np.float32), coming[:length].astype(np.float32)
        share = ((np.arange(length) + 1) / (length + 1))[:, None, None, None]
        writer.write_soft(_faded(end, start, share, random) if fades else _rounded(end * (1 - share) + start * share))
        waiting = coming[length:]
    writer.write(waiting)


def _faded(end: np.ndarray, start: np.ndarray, share: np.ndarray, random: Random) -> Frames:
    plain = 255.0 if random.random() < 0.25 else 0.0
    between = np.full((int(random.integers(1, 12)), *end.shape[1:]), plain)
    return _rounded(np.concatenate([end + (plain - end) * share, between, plain + (start - plain) * share]))


def _rounded(frames: np.ndarray) -> Frames:
    rounded: Frames = np.clip(np.round(frames), 0, 255).astype(np.uint8)
    return rounded
