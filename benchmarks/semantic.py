"""Whether a model's vectors bring clips of one film, and of one kind of scene, together: real clips, labelled by hand.

    python -m benchmarks.semantic [--video-dir DIR] [--seconds 4] [--clips-per-video 8] [--models effnet-lite0 ...]

Without --video-dir it takes the project's real test videos; `LABELS` says of each what it shows and why. Three questions:

* **Purity.** Is the nearest other clip of the same film? And is the nearest clip of *another* film of the same kind?
* **Eps.** How near do clips of different scenes come, and which share of the clips of one scene is found at each eps?
* **Speed.** How many clips a second one core embeds, once the frames are in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curator_dask.models import ModelOptions, Unusable, load_model
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.split.stage import SplitStage
from curator_dask.video.frames.read import read_clip_frames

REAL = Path(__file__).resolve().parents[2] / "shared" / "videos" / "real"
EPS = (0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.65)
GOAL_CLIPS_PER_CORE = 4.0
"""Clips of 10 s a second: 8 on two cores."""


@dataclass(frozen=True)
class Label:
    """What a video shows."""

    film: str
    """Files that were cut from one recording have one film."""
    kind: str
    one_scene: bool
    """Whether all clips of the film show one scene: the camera stands, or looks at one thing."""


LABELS = {
    # Four cuts of one cartoon, and another film made by computer. Both have many scenes.
    "bbb_30s_vp8_vorbis.webm": Label("big buck bunny", "cartoon", False),
    "bbb_642x642_vp9.webm": Label("big buck bunny", "cartoon", False),
    "bbb_firstpts10_sar.mp4": Label("big buck bunny", "cartoon", False),
    "bunny_1080p60.ts": Label("big buck bunny", "cartoon", False),
    "cosmos_30s_480p24.mp4": Label("sintel", "cartoon", False),
    # Bottles go by before a still camera; the second file is the first one without some frames.
    "bottle_40s_360p29_83.mp4": Label("bottles", "conveyor", True),
    "made_vfr_640x360.mp4": Label("bottles", "conveyor", True),
    # A car park from above, by a still camera; the second file is a part of the first.
    "car_30s_432p12_5_aac.mp4": Label("cars", "road", True),
    "made_odd_641x361_vp9.webm": Label("cars", "road", True),
    # A hand-held camera goes round one chair: two recordings of it, so two films of one kind.
    "neardup_chair19.mp4": Label("chair, without a logo", "chair", True),
    "neardup_chair22logo.mp4": Label("chair, with a logo", "chair", True),
    # Slides and web pages of one talk.
    "v2d_122s_1080p30_aac.mp4": Label("talk", "slides", False),
    # The earth from space.
    "h264_in_avi_30s.avi": Label("earth", "space", True),
    # One person each, in a room.
    "pancake_10s.mkv": Label("pancake", "person", True),
    "xvid_bframes_nomono.avi": Label("make-up", "person", True),
    "fragmented_1s.mp4": Label("man before a camera", "person", True),
    # Things on a desk, near the camera: a telephone, a lamp, the box of a game.
    "desks_bad_utf8_tag.3gp": Label("telephone", "desk", True),
    "iphone_hevc_rot90.mov": Label("lamp", "desk", True),
    "iphone_rot90_gps.mov": Label("box", "desk", True),
    # Roofs of one large building, seen from above: two recordings, which begin at different places.
    "hdr10_av1_10bit_portrait.mp4": Label("roofs, tall picture", "roofs", False),
    "hevc10_editlist_rot90.mp4": Label("roofs, turned picture", "roofs", True),
}
"""Left out: `long_363s` is black, `tiny_66x50` is a pointer on black, `decord_rot180` has 3 frames."""
SAME_PLACE = (("chair, without a logo", "chair, with a logo"), ("roofs, tall picture", "roofs, turned picture"))
"""Films that show one and the same place: their clips count neither as one scene nor as different ones."""


@dataclass(frozen=True)
class Vectors:
    """The clips of one model that have a vector."""

    rows: np.ndarray
    """(N, D) float32, unit rows."""
    labels: list[Label]
    num_plain: int
    clips_per_s: list[float]
    """By round: clips per CPU second of one core, with the frames in memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video-dir", type=Path, default=REAL)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clips-per-video", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["pdqf_tmk_nobars", "effnet-lite0"])
    parser.add_argument("--model-dir", type=Path, default=Path("./models"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        clips = cut(options, Path(scratch))
        found = {name: embed(name, clips, options) for name in options.models}
    report(found, len(clips), options)


def cut(options: argparse.Namespace, scratch: Path) -> list[tuple[Path, float, Label]]:
    """The clips of all labelled videos: file, length in seconds, label."""
    settings = ClusterSettings(device="cpu", n_workers=1, dashboard=False)
    with LazyCluster(settings) as cluster:
        SplitStage(
            str(options.video_dir), str(scratch), include=sorted(LABELS), limit_clips=options.clips_per_video,
            fixed_stride_split_duration=options.seconds, fixed_stride_min_clip_length_s=1.0,
        ).run(context=RunContext(cluster))  # fmt: skip
    rows = pq.read_table(scratch / "clips.parquet").to_pylist()
    return [
        (scratch / row["clip_path"], row["end_s"] - row["start_s"], LABELS[Path(row["relative_path"]).name])
        for row in rows
        if row["valid"]
    ]


def embed(name: str, clips: list[tuple[Path, float, Label]], options: argparse.Namespace) -> Vectors:
    model = load_model(name, ModelOptions(options.model_dir))
    frames = [read_clip_frames(path, model.frame_rule, duration_s=length_s) for path, length_s, _ in clips]
    speeds = []
    for _ in range(options.rounds):
        before = time.process_time()
        vectors = model.embed(frames)
        speeds.append(len(clips) / (time.process_time() - before))
    usable = [(one, label) for one, (_, _, label) in zip(vectors, clips, strict=True) if not isinstance(one, Unusable)]
    rows = np.stack([one for one, _ in usable])
    return Vectors(rows, [label for _, label in usable], len(clips) - len(usable), speeds)


def purity(found: Vectors) -> dict[str, tuple[int, int]]:
    """``film`` and ``kind``: of how many clips the nearest one is right, and of how many it could be."""
    film, kind = (np.array([getattr(label, name) for label in found.labels]) for name in ("film", "kind"))
    same_film = film[:, None] == film
    cosines = found.rows @ found.rows.T
    np.fill_diagonal(cosines, -2)
    of_film = (same_film & ~np.eye(len(film), dtype=bool)).any(axis=1)
    nearest = cosines.argmax(axis=1)
    elsewhere = np.where(same_film, -2, cosines)
    of_kind = ((kind[:, None] == kind) & ~same_film).any(axis=1)
    other = elsewhere.argmax(axis=1)
    return {
        "film": (int((film[nearest] == film)[of_film].sum()), int(of_film.sum())),
        "kind": (int((kind[other] == kind)[of_kind].sum()), int(of_kind.sum())),
    }


def by_chance(found: Vectors) -> float:
    """The purity by kind of a model that knows nothing: the mean share of the right kind among clips of other films."""
    film, kind = (np.array([getattr(label, name) for label in found.labels]) for name in ("film", "kind"))
    others = film[:, None] != film
    right = (kind[:, None] == kind) & others
    able = right.any(axis=1)
    return float((right.sum(axis=1) / others.sum(axis=1))[able].mean())


def scenes(found: Vectors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines of all pairs of different scenes; of each clip of a film of one scene and its nearest there; and of all pairs
    of one film of many scenes, some of which show the same."""
    film = np.array([label.film for label in found.labels])
    one_scene = np.array([label.one_scene for label in found.labels])
    place = {name: group[0] for group in SAME_PLACE for name in group}
    where = np.array([place.get(name, name) for name in film])
    cosines = found.rows.astype(np.float64) @ found.rows.T.astype(np.float64)
    different = cosines[np.triu(where[:, None] != where, 1)]
    same = (film[:, None] == film) & ~np.eye(len(film), dtype=bool)
    able = one_scene & same.any(axis=1)
    of_many = cosines[np.triu(same & ~one_scene[:, None] & ~one_scene, 1)]
    return different, np.where(same, cosines, -2).max(axis=1)[able], of_many


def closest(found: Vectors, count: int) -> list[str]:
    """The closest pairs of different scenes, by their films."""
    film = np.array([label.film for label in found.labels])
    place = {name: group[0] for group in SAME_PLACE for name in group}
    where = np.array([place.get(name, name) for name in film])
    cosines = np.where(np.triu(where[:, None] != where, 1), found.rows @ found.rows.T, -2)
    best: dict[tuple[str, str], float] = {}
    for at in np.argsort(-cosines, axis=None)[: 40 * count]:
        row, other = np.unravel_index(at, cosines.shape)
        best.setdefault(tuple(sorted((film[row], film[other]))), float(cosines[row, other]))
    return [f"{a} and {b} {score:.3f}" for (a, b), score in list(best.items())[:count]]


def report(found: dict[str, Vectors], num_clips: int, options: argparse.Namespace) -> None:
    print(f"{num_clips} clips of {options.seconds:g} s or less, {len(LABELS)} videos\n")
    print(
        "| model | nearest clip: same film | nearest of another film: same kind | by chance | plain | clips/s per core |"
    )
    print("|---|---|---|---|---|---|")
    for name, one in found.items():
        right = purity(one)
        film, kind = (f"{good / able:.0%} of {able}" for good, able in right.values())
        speed = statistics.median(one.clips_per_s)
        print(f"| `{name}` | {film} | {kind} | {by_chance(one):.0%} | {one.num_plain} | {speed:.1f} |")
    print(
        f"\nThe goal for clips per second and core is {GOAL_CLIPS_PER_CORE:g}: CPU time, frames in memory, one thread."
    )
    for name, one in found.items():
        different, same, of_many = scenes(one)
        print(f"\n## {name}\n\n{len(different)} pairs of different scenes, the closest at {different.max():.3f}")
        print(f"(films: {'; '.join(closest(one, 5))}).\n")
        print(f"| eps | clips with another of their scene within eps ({len(same)}) | pairs of different scenes within eps | "
              f"pairs of one film of many scenes within eps ({len(of_many)}) |")  # fmt: skip
        print("|---|---|---|---|")
        for eps in EPS:
            within = (different >= 1 - eps).sum(), (of_many >= 1 - eps).mean()
            print(f"| {eps} | {(same >= 1 - eps).mean():.0%} | {within[0]} | {within[1]:.0%} |")


if __name__ == "__main__":
    main()
