"""Are the changes between shots found, and nothing else? Our two splitting algorithms and PySceneDetect's two detectors.

    python -m benchmarks.shots --model-dir models [--films 2] [--first-seed 0] [--halves tuning held-out]
        [--kinds hard fades ...] [--misses]
    python -m benchmarks.shots --model-dir models --cost

Films are joined from scenes that hold no cut, so each change is known by its frame. Every detector sees the same files in the
same run. A hard cut is found if a mark, or the first or last of marks side by side, lies within one frame of it. A fade or
dissolve is found if a mark lies in it, or one frame beside it; more marks in it count neither as found nor as false. All other
marks are false. Precision is the share of the found changes in these and the false marks. Two real trailers, whose cuts were
found by eye, are listed apart.

With --cost: the CPU time of each detector as a share of that of `split` with clips of one length, and of what they have in
common, the decoding to small frames.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.near_duplicates import REAL
from benchmarks.shot_films import KINDS, Film, make_film
from benchmarks.shot_scenes import HALVES
from benchmarks.transcode import timed
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.split.splitters.base import SplittingParameters
from curator_dask.stages.split.splitters.content import ContentSplitter
from curator_dask.stages.split.splitters.registry import make_splitter
from curator_dask.stages.split.splitters.transnetv2 import TransNetV2Splitter
from curator_dask.stages.split.stage import SplitStage
from curator_dask.video.probe import probe_video
from curator_dask.video.shots.content import ContentMeasures, Measuring, mark_content_changes, measure
from curator_dask.video.shots.refine import refine_marks
from curator_dask.video.shots.small_frames import SmallFrames

Run = tuple[int, int]
"""The first and last of some marked frames side by side. A mark is on the last frame before a change."""
Detector = Callable[[Path], list[Run]]
TRAILERS = (
    Film(REAL / "bbb_30s_vp8_vorbis.webm", "trailers", "by eye", [283, 376, 551], [(0, 47), (598, 620), (690, 719)]),
    Film(
        REAL / "cosmos_30s_480p24.mp4", "trailers", "by eye", [286, 348, 356, 372, 523, 573, 610, 624],
        [(66, 100), (155, 270), (316, 347), (373, 408), (425, 495), (625, 655), (705, 719)],
    ),
)  # fmt: skip
"""What fades, also a title, is listed as soft: marks there are neither found nor false."""


@dataclass
class Counts:
    hard: int = 0
    hard_found: int = 0
    soft: int = 0
    soft_found: int = 0
    false: int = 0
    missed_at: list[str] = field(default_factory=list)
    false_at: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        for name in ("hard", "hard_found", "soft", "soft_found", "false", "missed_at", "false_at"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def row(self) -> str:
        precision = _percent(self.hard_found + self.soft_found, self.hard_found + self.soft_found + self.false)
        return f"{_percent(self.hard_found, self.hard)} | {_percent(self.soft_found, self.soft)} | {self.false} | {precision}"


def judge(film: Film, runs: Iterable[Run]) -> Counts:
    """Compare the marks of a film with its truth."""
    name, found_hard, found_soft, false = film.path.stem, set(), set(), []
    for first, last in runs:
        cuts = {cut for cut in film.hard if cut - 2 <= first <= cut or cut - 2 <= last <= cut}
        soft = {number for number, (begin, end) in enumerate(film.soft) if first <= end + 1 and last >= begin - 2}
        found_hard |= cuts
        found_soft |= soft
        if not cuts and not soft:
            false.append(f"{name}:{first}-{last}")
    missed = [f"{name}:{cut}" for cut in film.hard if cut not in found_hard]
    missed += [f"{name}:{begin}-{end}" for number, (begin, end) in enumerate(film.soft) if number not in found_soft]
    return Counts(len(film.hard), len(found_hard), len(film.soft), len(found_soft), len(false), missed, false)


def detectors(model_dir: str) -> dict[str, Detector]:
    splitters = {
        name: make_splitter(name, SplittingParameters(model_dir=model_dir)) for name in ("content", "transnetv2")
    }
    content, network = splitters["content"], splitters["transnetv2"]
    assert isinstance(content, ContentSplitter)
    assert isinstance(network, TransNetV2Splitter)
    return {
        "content": lambda path: _content(path, content.threshold),
        "transnetv2": lambda path: _transnetv2(path, network, refine=True),
        "network of transnetv2 alone": lambda path: _transnetv2(path, network, refine=False),
        **_scenedetect(),
    }


def _content(path: Path, threshold: float) -> list[Run]:
    return _runs(mark_content_changes(measure(SmallFrames(probe_video(path)).blocks()), threshold))


def _transnetv2(path: Path, splitter: TransNetV2Splitter, *, refine: bool) -> list[Run]:
    probabilities, measures = _probabilities(path, splitter)
    marks = refine_marks(probabilities, splitter.threshold, measures) if refine else probabilities > splitter.threshold
    return _runs(marks)


@functools.lru_cache(maxsize=1)
def _probabilities(path: Path, splitter: TransNetV2Splitter) -> tuple[np.ndarray, ContentMeasures]:
    """What the network says of the frames of a film, and what is measured on them."""
    from curator_dask.models.transnetv2.detect import change_probabilities

    measuring = Measuring()
    blocks = measuring.passing(SmallFrames(probe_video(path)).blocks())
    return change_probabilities(blocks, splitter.weights, splitter.device), measuring.measures()


def _runs(marks: np.ndarray) -> list[Run]:
    edges = np.flatnonzero(np.diff(np.r_[False, marks, False].astype(np.int8)))
    return [(int(first), int(after) - 1) for first, after in edges.reshape(-1, 2)]


def _scenedetect() -> dict[str, Detector]:
    """PySceneDetect's detectors with their own defaults."""
    try:
        import scenedetect
    except ImportError:
        raise SystemExit("PySceneDetect is not installed: pip install -c constraints.txt -e '.[bench]'") from None

    def detect(path: Path, detector: object) -> list[Run]:
        scenes = scenedetect.detect(str(path), detector)
        firsts = [start.frame_num for start, _ in scenes[1:]]
        return [(first - 1, first - 1) for first in firsts]

    return {
        "PySceneDetect Adaptive": lambda path: detect(path, scenedetect.AdaptiveDetector()),
        "PySceneDetect Content": lambda path: detect(path, scenedetect.ContentDetector()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-dir", default="./models")
    parser.add_argument("--films", type=int, default=2, help="per kind and half")
    parser.add_argument("--first-seed", type=int, default=0, help="of the films; others give films nobody has seen")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS, "trailers"], choices=[*KINDS, "trailers"])
    parser.add_argument("--halves", nargs="+", default=list(HALVES), choices=HALVES)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 360))
    parser.add_argument("--detectors", nargs="+", help="the beginnings of their names; all without it")
    parser.add_argument("--misses", action="store_true", help="also print where each detector is wrong")
    parser.add_argument("--keep", type=Path, help="keep the films and what was found here; delete it after a change")
    parser.add_argument("--cost", action="store_true", help="measure the CPU time instead")
    options = parser.parse_args()
    chosen = {
        name: detector
        for name, detector in detectors(options.model_dir).items()
        if not options.detectors or any(name.startswith(start) for start in options.detectors)
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if options.cost:
            measure_cost(options, folder, chosen)
        else:
            compare(options, make_films(options, folder), chosen)


def make_films(options: argparse.Namespace, folder: Path) -> list[Film]:
    joined = [
        make_film(folder / f"{half}_{kind.replace(' ', '_')}_{seed}.mp4", kind, half, seed, tuple(options.size))
        for seed in range(options.first_seed, options.first_seed + options.films)
        for half in options.halves
        for kind in options.kinds
        if kind != "trailers"
    ]
    return [*joined, *(TRAILERS if "trailers" in options.kinds else ())]


def compare(options: argparse.Namespace, films: Sequence[Film], chosen: dict[str, Detector]) -> None:
    marks = Marks(options.keep)
    found = {
        (name, film.path): judge(film, marks.of(name, detector, film.path))
        for film in films
        for name, detector in chosen.items()
    }
    for half in dict.fromkeys(film.half for film in films):
        mine = [film for film in films if film.half == half]
        print(f"\n## {half}: {len(mine)} films, {sum(film.num_frames for film in mine)} frames\n")
        print("| films | changes | detector | hard cuts found | soft changes found | false marks | precision |")
        print("|---|---|---|---|---|---|---|")
        kinds = list(dict.fromkeys(film.kind for film in mine))
        for kinds_of_row, label in [*(((kind,), kind) for kind in kinds), *_totals(kinds)]:
            for name in chosen:
                counts = _sum(found[name, film.path] for film in mine if film.kind in kinds_of_row)
                print(f"| {label} | {counts.hard} + {counts.soft} | {name} | {counts.row()} |")
                if options.misses and len(kinds_of_row) == 1:
                    print(f"<!-- missed {counts.missed_at} false {counts.false_at} -->")


class Marks:
    """What detectors found, kept in a folder, so that a run that was stopped goes on."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "marks.jsonl" if folder else None
        lines = self._path.read_text().splitlines() if self._path and self._path.exists() else []
        self._known = {tuple(key): runs for key, runs in map(json.loads, lines)}

    def of(self, name: str, detector: Detector, path: Path) -> list[Run]:
        key = (name, path.name)
        if key not in self._known:
            self._known[key] = detector(path)
            if self._path:
                with self._path.open("a") as file:
                    file.write(json.dumps([key, self._known[key]]) + "\n")
                print(*key, file=sys.stderr, flush=True)
        return [(first, last) for first, last in self._known[key]]


def _totals(kinds: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    without = tuple(kind for kind in kinds if kind not in ("slides", "quick"))
    return [(tuple(kinds), "**all**"), (without, "**all but quick and slides**")] if len(kinds) > 1 else []


def _sum(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for one in counts:
        total.add(one)
    return total


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _decode(path: Path) -> list[Run]:
    for _ in SmallFrames(probe_video(path)).blocks():
        pass
    return []


def measure_cost(options: argparse.Namespace, folder: Path, chosen: dict[str, Detector]) -> None:
    """CPU seconds of splitting films, and of each detector."""
    films = [
        make_film(folder / f"{seed}.mp4", "hard", "tuning", seed, tuple(options.size)) for seed in range(options.films)
    ]
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:

        def split(out: Path) -> None:
            SplitStage(str(folder), str(out)).run(context=RunContext(cluster))

        split(folder / "warm")
        _, split_s = timed(split)
    frames = sum(film.num_frames for film in films)
    print(f"{len(films)} films of {options.size[0]}x{options.size[1]}, {frames} frames, {os.cpu_count()} cores\n")
    print("| | CPU s | CPU ms per frame | share of split |\n|---|---|---|---|")
    print(f"| split | {split_s:.1f} | {1000 * split_s / frames:.2f} | |")
    for name, detector in {"decoding to small frames": _decode, **chosen}.items():
        detector(films[0].path)  # loads what it needs
        _probabilities.cache_clear()
        _, cpu_s = timed(lambda _, detector=detector: [detector(film.path) for film in films])
        print(f"| {name} | {cpu_s:.1f} | {1000 * cpu_s / frames:.2f} | {cpu_s / split_s:.1%} |")


if __name__ == "__main__":
    main()
