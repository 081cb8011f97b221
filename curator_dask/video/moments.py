"""Render sample videos in which the same picture does not mean the same moment, and a copy that begins later.

* Two still cameras: a picture that stands, and things that move through it, other ones every ten seconds.
* A film, and a copy of it that begins 3.7 seconds later.
* Slides, each shown for 8 to 12 seconds. The first two differ by one line of boxes only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, FRAMERATE = 320, 180, 15
SHIFT_S = 3.7
MOVERS_CHANGE_S = 10
_ENCODER = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "24", "-pix_fmt", "yuv420p", "-threads", "1")
_WORSE = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "32", "-pix_fmt", "yuv420p", "-threads", "1")

Render = Callable[[Sequence[str], Sequence[str], Path], None]
"""Takes ffmpeg's input options, its output options, and the file to make."""


@dataclass(frozen=True, slots=True)
class Mover:
    """A box that moves through the picture of a still camera, for ten seconds."""

    colour: str
    width: int
    height: int
    x: str
    """Its left edge, an expression of ffmpeg's in the seconds ``t`` since the video's start."""
    y: str


CAMERAS: tuple[tuple[Mover, ...], ...] = (
    (
        Mover("maroon", 50, 90, "40*t-60", "80"),
        Mover("white", 80, 40, "320-45*(t-10)", "120+10*sin(3*t)"),
        Mover("navy", 40, 100, "140+90*sin(t)", "60+20*cos(2*t)"),
    ),
    (
        Mover("gold", 70, 70, "150+120*cos(0.9*t)", "50+40*sin(0.9*t)"),
        Mover("black", 45, 110, "30*(t-10)-20", "60"),
        Mover("teal", 110, 35, "320-40*(t-20)", "20+8*(t-20)"),
    ),
)
"""The movers of each still camera; one at a time, ten seconds each."""

Box = tuple[int, int, int, int]
"""x, y, width, height"""
_TITLE: tuple[Box, ...] = ((20, 14, 200, 22),)
_LINES: tuple[Box, ...] = tuple((30, 56 + 22 * line, width, 10) for line, width in enumerate((240, 180, 210, 150)))
SLIDES: tuple[tuple[int, tuple[Box, ...]], ...] = (
    (8, (*_TITLE, *_LINES)),
    (10, (*_TITLE, *_LINES[:3], *((30 + 28 * word, 122, 20, 10) for word in range(4)))),
    (12, ((20, 14, 120, 22), (24, 50, 130, 110), (180, 50, 110, 12), (180, 76, 90, 12), (180, 102, 100, 12))),
    (10, ((60, 70, 200, 30), (110, 112, 100, 12))),
)
"""The seconds that each slide is shown, and its boxes."""


def render_moments(folder: Path, render: Render) -> dict[str, Any]:
    """Render all of them; returns what ``truth.json`` says of them.

    * ``different_moments``: files in which no moment comes twice, although the picture stands.
    * ``moment_twins``: pairs ``(original, copy)`` of these, alike at the same second and at no other.
    * ``shifted``: ``original``, ``twin`` and ``offset_s``: the twin's second 0 is this second of the original.
    * ``slides``: the file, and the seconds at which its slides begin; each slide is one picture, and no two are alike.
    """
    cameras = [folder / f"still_{number}.mp4" for number in range(len(CAMERAS))]
    for number, (path, movers) in enumerate(zip(cameras, CAMERAS, strict=True)):
        render(_camera(number, movers), _ENCODER, path)
    copy = folder / "still_0_reencoded.mp4"
    render(_file(cameras[0]), _WORSE, copy)
    film, shifted = folder / "film.mp4", folder / "film_shifted.mp4"
    render(_noise(201, 31), _ENCODER, film)
    render(("-ss", str(SHIFT_S), *_file(film)), _WORSE, shifted)
    slides = folder / "slides.mp4"
    render(_slides(), _ENCODER, slides)
    starts_s = list(itertools.accumulate((seconds for seconds, _ in SLIDES[:-1]), initial=0))
    return {
        "different_moments": [path.name for path in cameras],
        "moment_twins": [(cameras[0].name, copy.name)],
        "shifted": [{"original": film.name, "twin": shifted.name, "offset_s": SHIFT_S}],
        "slides": [{"file": slides.name, "starts_s": starts_s}],
    }


def _file(path: Path) -> tuple[str, str]:
    return ("-i", f"file:{path.absolute()}")


def _noise(seed: int, length_s: float) -> tuple[str, ...]:
    """Noise that moves like a film."""
    return ("-f", "lavfi", "-t", f"{length_s}", "-i", f"{_noise_filter(seed, 'tscale=0.35')},format=yuv420p")


def _noise_filter(seed: int, rest: str) -> str:
    noise = f"perlin=size=96x54:rate={FRAMERATE}:octaves=3:persistence=0.6:xscale=4:yscale=3:{rest}"
    return (
        f"{noise}:random_mode=seed:random_seed={seed},scale={WIDTH}:{HEIGHT}:flags=bicubic,format=yuv420p,eq=contrast=5"
    )


def _camera(number: int, movers: Sequence[Mover]) -> tuple[str, ...]:
    """One frame of noise that stands, with a mover at a time over it."""
    length_s = MOVERS_CHANGE_S * len(movers)
    graph = [f"{_noise_filter(101 + number, 'tscale=0.35')},trim=end_frame=1,loop=-1:1:0,setpts=N/{FRAMERATE}/TB[p0]"]
    for at, mover in enumerate(movers):
        box = f"color=c={mover.colour}:size={mover.width}x{mover.height}:rate={FRAMERATE}"
        shown = f"between(t,{at * MOVERS_CHANGE_S},{(at + 1) * MOVERS_CHANGE_S - 0.01})"
        graph.append(f"{box}[m{at}];[p{at}][m{at}]overlay=x='{mover.x}':y='{mover.y}':enable='{shown}'[p{at + 1}]")
    picture = ";".join(graph).removesuffix(f"[p{len(movers)}]")
    return ("-f", "lavfi", "-t", f"{length_s}", "-i", picture)


def _slides() -> tuple[str, ...]:
    """White pages with boxes where a title, lines and pictures would be."""
    pages = []
    for seconds, boxes in SLIDES:
        drawn = ",".join(f"drawbox={x}:{y}:{width}:{height}:black:fill" for x, y, width, height in boxes)
        pages.append(f"color=c=white:size={WIDTH}x{HEIGHT}:rate={FRAMERATE}:duration={seconds},{drawn}")
    parts = ";".join(f"{page}[s{number}]" for number, page in enumerate(pages))
    joined = "".join(f"[s{number}]" for number in range(len(pages)))
    return ("-f", "lavfi", "-i", f"{parts};{joined}concat=n={len(pages)}:v=1")
