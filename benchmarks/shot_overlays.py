"""What appears in a picture that stands and is no cut: captions, bullets, and small things such as pointers and clocks.

For `benchmarks.shot_films`. Each function draws on frames of one scene and returns them.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.shot_scenes import (
    REAL_SCENES,
    REAL_SLIDES,
    RENDERED_SCENES,
    STILL_SCENES,
    Frames,
    Random,
    draw_piece,
    read_scene,
    slide,
)

Size = tuple[int, int]
STANDING = ("camera", "drawn slide", "real slide", "frame")
"""A camera that does not move, slides, and one frame of another scene."""
Layer = np.ndarray
"""(height, width, 4) uint8: a picture and how much of it covers what is below."""


def captions(frames: Frames, half: str, random: Random) -> None:
    """Captions of one to three lines appear, are replaced and vanish."""
    del half
    at_top, boxed, part = random.random() < 0.2, random.random() < 0.3, float(random.uniform(0.04, 0.075))
    for first, after in _stretches(len(frames), random):
        if random.random() < 0.75:
            lines = [_text(random, int(random.integers(8, 36))) for _ in range(int(random.integers(1, 4)))]
            _lay(frames[first:after], _caption(lines, _size(frames), part, at_top=at_top, boxed=boxed))


def bullets(frames: Frames, half: str, random: Random) -> None:
    """In place of the frames: a slide to which a line is added again and again. Often those before become pale."""
    del half
    light, pales = random.random() < 0.6, random.random() < 0.4
    ground, ink = ((255, 255, 255), (30, 30, 30)) if light else ((20, 30, 60), (230, 230, 230))
    pale = tuple((one + 2 * other) // 3 for one, other in zip(ink, ground, strict=True)) if pales else ink
    tall = int(len(frames[0]) * random.uniform(0.04, 0.06))
    title, lines = _text(random, int(random.integers(6, 20))), list[str]()
    for first, after in _stretches(len(frames), random):
        picture = Image.new("RGB", _size(frames), ground)
        _write_list(picture, title, lines, tall, [*[pale] * (len(lines) - 1), ink])
        frames[first:after] = np.asarray(picture)
        lines.append(_text(random, int(random.integers(10, 40))))


def _write_list(picture: Image.Image, title: str, lines: list[str], tall: int, colours: list[tuple[int, ...]]) -> None:
    """A title, and lines below it, in the last colours."""
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    pen.text((width // 12, height // 14), title, colours[-1], ImageFont.load_default(2 * tall))
    for number, line in enumerate(lines):
        place = (width // 10, height // 4 + int(1.7 * tall) * number)
        pen.text(place, line, colours[number], ImageFont.load_default(tall))


def small_things(frames: Frames, half: str, random: Random) -> None:
    """Up to three of: a pointer, a clock, a score, a cursor, a bar that grows, an inset, a logo that dissolves."""
    for thing in random.choice(len(_THINGS), int(random.integers(1, 4)), replace=False).tolist():
        _THINGS[thing](frames, half, random)


def standing(kind: str, half: str, size: Size, count: int, random: Random) -> Frames:
    """A picture that stands, of one of `STANDING`."""
    if kind == "camera":
        scene, first, there = draw_piece(STILL_SCENES[half], None, random, (count, count))
        frames = read_scene(scene, first, there, size)
        return np.concatenate([frames, frames[::-1]])[:count].copy()
    return np.repeat(_standing_picture(kind, half, size, random)[None], count, axis=0)


def _standing_picture(kind: str, half: str, size: Size, random: Random) -> Frames:
    if kind == "drawn slide":
        return slide(size, random)
    if kind == "real slide":
        real = REAL_SLIDES[half][int(random.integers(len(REAL_SLIDES[half])))]
        return read_scene(real, real.first, 1, size)[0]
    cameras = {scene.name for scene in STILL_SCENES[half]}
    others = [scene for scene in (*REAL_SCENES[half], *RENDERED_SCENES[half]) if scene.name not in cameras]
    scene, first, _ = draw_piece(others, None, random, (1, 1))
    return read_scene(scene, first, 1, size)[0]


def _size(frames: Frames) -> Size:
    return frames.shape[2], frames.shape[1]


def _stretches(count: int, random: Random) -> list[tuple[int, int]]:
    """Frames between which something changes, each from 8 to 30 frames long but the last."""
    edges = [0]
    while edges[-1] + 38 < count:
        edges.append(edges[-1] + int(random.integers(8, 31)))
    return list(zip(edges, [*edges[1:], count], strict=True))


def _text(random: Random, length: int) -> str:
    """Words of some letters."""
    letters = random.choice(list(string.ascii_lowercase + 8 * " "), length)
    return "".join(letters).strip().capitalize() or "Yes"


def _caption(lines: list[str], size: Size, part: float, *, at_top: bool, boxed: bool) -> Layer:
    """White letters in the middle, with a dark rim or on a dark box."""
    width, height = size
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(int(part * height))
    spacing = int(1.3 * part * height)
    top = int(0.05 * height) if at_top else height - int(0.05 * height) - spacing * len(lines)
    for number, line in enumerate(lines):
        length, y = pen.textlength(line, font), top + number * spacing
        left = (width - length) / 2
        if boxed:
            pen.rectangle((left - 6, y - 2, left + length + 6, y + spacing - 3), (0, 0, 0, 170))
        pen.text((left, y), line, (255, 255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0, 255))
    return np.asarray(layer)


def _lay(frames: Frames, layer: Layer, strength: float = 1.0) -> None:
    """Lay a picture over frames, in place."""
    rows, columns = (np.flatnonzero(layer[:, :, 3].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cover = strength * layer[part][:, :, 3:].astype(np.float32) / 255
    below = frames[:, part[0], part[1]]
    below[:] = np.round(below + (layer[part][:, :, :3] - below.astype(np.float32)) * cover)


def _label(frames: Frames, text: str, place: tuple[float, float], part: float = 0.05) -> None:
    """White letters on a dark box, at a place given by shares of the width and height."""
    height, width = frames.shape[1:3]
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(int(part * height))
    x, y = int(place[0] * width), int(place[1] * height)
    pen.rectangle((x - 4, y - 2, x + pen.textlength(text, font) + 4, y + 1.3 * part * height), (10, 10, 90, 255))
    pen.text((x, y), text, (255, 255, 255, 255), font)
    _lay(frames, np.asarray(layer))


def _pointer(frames: Frames, half: str, random: Random) -> None:
    """A pointer that glides to a place and stays there, or jumps."""
    del half
    height, width = frames.shape[1:3]
    stops = random.uniform(0.05, 0.85, (len(frames) // 12 + 2, 2))
    jumps = random.random() < 0.5
    for number, frame in enumerate(frames):
        share = 0.0 if jumps else min(number % 12 / 6, 1.0)
        x, y = (stops[number // 12] * (1 - share) + stops[number // 12 + 1] * share) * (width, height)
        picture = Image.fromarray(frame)
        arrow = [(x, y), (x, y + 18), (x + 5, y + 13), (x + 13, y + 13)]
        ImageDraw.Draw(picture).polygon(arrow, (255, 255, 255), (0, 0, 0))
        frame[:] = np.asarray(picture)


def _clock(frames: Frames, half: str, random: Random) -> None:
    del half
    place = (float(random.choice([0.03, 0.82])), float(random.choice([0.04, 0.9])))
    start, part = int(random.integers(3600)), float(random.uniform(0.04, 0.08))
    for first in range(0, len(frames), 12):
        _label(frames[first : first + 12], f"{(start + first) // 60:02}:{(start + first) % 60:02}", place, part)


def _score(frames: Frames, half: str, random: Random) -> None:
    del half
    for first, after in _stretches(len(frames), random):
        ours, theirs = random.integers(0, 90, 2)
        _label(frames[first:after], f"HOME {ours} : {theirs} GUEST", (0.05, 0.05))


def _cursor(frames: Frames, half: str, random: Random) -> None:
    del half
    height, width = frames.shape[1:3]
    x, y = int(random.uniform(0.1, 0.8) * width), int(random.uniform(0.1, 0.8) * height)
    for first in range(0, len(frames), 24):
        frames[first : first + 12, y : y + height // 18, x : x + 4] = 0


def _bar(frames: Frames, half: str, random: Random) -> None:
    del half, random
    height, width = frames.shape[1:3]
    for number, frame in enumerate(frames):
        frame[height - height // 40 :, : int(width * number / len(frames))] = (220, 30, 30)


def _inset(frames: Frames, half: str, random: Random) -> None:
    """Another video in a corner, which has cuts of its own and changes its corner once."""
    height, width = frames.shape[1:3]
    small, scene = (
        (int(width * random.uniform(0.12, 0.25)) // 2 * 2, int(height * random.uniform(0.12, 0.25)) // 2 * 2),
        None,
    )
    corners = random.permutation(
        [(0, 0), (0, width - small[0]), (height - small[1], 0), (height - small[1], width - small[0])]
    )
    first, turn = 0, int(len(frames) * random.uniform(0.3, 0.9))
    while first < len(frames):
        scene, start, count = draw_piece(REAL_SCENES[half], scene, random, (24, 60))
        shown = read_scene(scene, start, count, small)[: len(frames) - first]
        for number, picture in enumerate(shown, first):
            y, x = corners[int(number >= turn)]
            frames[number, y : y + small[1], x : x + small[0]] = picture
        first += count


def _logo(frames: Frames, half: str, random: Random) -> None:
    """A logo that comes within 12 frames, and goes."""
    del half
    height, width = frames.shape[1:3]
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    x, y = float(random.choice([0.05, 0.8])) * width, float(random.choice([0.06, 0.75])) * height
    pen = ImageDraw.Draw(layer)
    pen.ellipse((x, y, x + width / 8, y + width / 10), (230, 90, 20, 255))
    pen.text((x + 12, y + 12), "LOGO", (255, 255, 255, 255), ImageFont.load_default(height // 18))
    first = int(random.integers(10, max(len(frames) - 60, 11)))
    for number in range(first, len(frames)):
        strength = min((number - first + 1) / 12, 1, (first + 60 - number) / 12)
        if strength > 0:
            _lay(frames[number : number + 1], np.asarray(layer), strength)


_THINGS: tuple[Callable[[Frames, str, Random], None], ...] = (
    _pointer, _clock, _score, _cursor, _bar, _inset, _logo,
)  # fmt: skip
