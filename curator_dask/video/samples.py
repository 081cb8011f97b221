"""Render sample videos with known twins by ffmpeg's own sources, to try and to test the whole job.

Every scene is Perlin noise with its own seed, so scenes look different and so do the moments of one scene. The twins
are typical edited copies, each made from the finished file of its scene.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator_dask.errors import ToolError
from curator_dask.files.folder import Folder
from curator_dask.files.local_disk.refusals import writing_to
from curator_dask.video.moments import render_moments
from curator_dask.video.process.ffmpeg import ffmpeg_path, global_args
from curator_dask.video.process.sandbox import run

WIDTH, HEIGHT, FRAMERATE = 640, 360, 24
TRUTH = "truth.json"
RENDER_TIMEOUT_S = 600.0
_SCENE_ENCODER = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p", "-threads", "1")


@dataclass(frozen=True, slots=True)
class Twin:
    """One edited copy of a scene."""

    name: str
    scene: int
    suffix: str
    arguments: tuple[str, ...]
    """The output options of ffmpeg that make the copy."""


TWINS = (
    Twin("reencoded", 0, ".avi", ("-c:v", "mpeg4", "-q:v", "9", "-threads", "1")),
    Twin("scaled", 1, ".mkv", ("-vf", "scale=iw/2:ih/2", *_SCENE_ENCODER)),
    Twin("cropped", 2, ".mp4", ("-vf", "crop=iw*0.95:ih*0.95", *_SCENE_ENCODER)),
    Twin("trimmed", 3, ".mov", ("-ss", "0.4", *_SCENE_ENCODER)),
    Twin("grey", 4, ".mp4", ("-vf", "hue=s=0", *_SCENE_ENCODER)),
)


def render_samples(
    folder: Path,
    *,
    num_scenes: int = 8,
    length_s: float = 21.0,
    moments: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> list[tuple[str, str]]:
    """Render scenes and twins into `folder`; existing files are kept.

    Returns the planted pairs ``(original, twin)`` as file names, and writes them to ``truth.json``. Every clip of the
    twin is a near-duplicate of the original's clip at the same position. `size` is the width and height of the scenes in
    pixels. With `moments`, the videos of `render_moments` are there too, and ``truth.json`` says what is known of them.
    Raises ToolError if ffmpeg fails, InputError if the folder cannot be made.
    """
    Folder(str(folder)).check_is_no_file()
    with writing_to(folder, refused=True):
        folder.mkdir(parents=True, exist_ok=True)
    scenes = [folder / f"scene_{number}.mp4" for number in range(num_scenes)]
    for number, path in enumerate(scenes):
        _render(_scene_input(number, length_s, size), _SCENE_ENCODER, path)
    pairs = []
    for twin in TWINS:
        if twin.scene < num_scenes:
            original = scenes[twin.scene]
            copy = folder / f"scene_{twin.scene}_{twin.name}{twin.suffix}"
            _render(("-i", f"file:{original.absolute()}"), twin.arguments, copy)
            pairs.append((original.name, copy.name))
    truth = {"twins": pairs, **(render_moments(folder, _render) if moments else {})}
    (folder / TRUTH).write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return pairs


def _scene_input(number: int, length_s: float, size: tuple[int, int]) -> tuple[str, ...]:
    noise = f"perlin=size=96x54:rate={FRAMERATE}:octaves=3:persistence=0.6:xscale=4:yscale=3:tscale=0.35"
    colour = "format=yuv420p,eq=contrast=5,colorchannelmixer=rb=0.4:bg=0.5"
    picture = f"{noise}:random_mode=seed:random_seed={number + 1},scale={size[0]}:{size[1]}:flags=bicubic,{colour}"
    return ("-f", "lavfi", "-t", f"{length_s}", "-i", picture)


def _render(source: Sequence[str], output: Sequence[str], path: Path) -> None:
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    argv = [ffmpeg_path(), *global_args()[1:], *source, "-an", *output, f"file:{temporary.absolute()}"]
    finished = run(argv, timeout_s=RENDER_TIMEOUT_S)
    if finished.returncode != 0:
        temporary.unlink(missing_ok=True)
        raise ToolError(f"ffmpeg could not render {path.name}: {finished.stderr_tail.strip()[-300:]}")
    temporary.replace(path)
