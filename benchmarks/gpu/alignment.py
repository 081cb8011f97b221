"""Alignment on a device: the seeds, and what follows from them, must be the CPU's, bit for bit.

    python -m benchmarks.gpu.alignment

`find_seeds` is the one search of alignment that takes arrays of a device; the stage itself computes on CPUs everywhere.
Its rows are whole numbers of at most 127, so products in TF32 and in bfloat16 lose nothing either. What comes after
the seeds (votes, runs) and what needs none (short lines' offsets, still pictures) runs on the host.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

import numpy as np

from benchmarks.gpu.device import fastest
from benchmarks.gpu.kernels import product, same
from benchmarks.gpu.records import sized, tell
from curator_dask.dedup.align import pairs, short_lines
from curator_dask.dedup.align.in_cells.votes import moving_votes
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.align.seeds import Seeds, Segments, find_seeds, segments_of
from curator_dask.dedup.similarity.candidates import PRECISIONS

DIMENSION = 66
THRESHOLDS = Thresholds()
COPY_EVERY = 5
"""Every so many videos show a part of the video before them."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    lines = made_lines(*sized((250, 240), (10, 60)))
    of_four = segments_of(lines, THRESHOLDS.min_energy)
    of_two = short_lines.short_segments(lines, THRESHOLDS.min_energy)
    compare_products(of_four.rows[: sized(2048, 100)])
    compare_seeds("four seconds", of_four, pairs.SEED_SCORE)
    compare_seeds("two seconds", of_two, short_lines.SEED_SCORE)
    compare_overlaps(lines[: sized(40, 10)])


def made_lines(number: int, num_windows: int) -> list[Line]:
    """Lines of videos with a standing picture and changes; some share a stretch with the one before, a little altered."""
    random = np.random.default_rng(0)
    films = [changes(random, num_windows) for _ in range(number)]
    part = num_windows // 3
    for at in range(1, number, COPY_EVERY):
        films[at][part : 2 * part] = films[at - 1][:part] * 0.9 + random.normal(0, 1, (part, DIMENSION))
    nothing = np.zeros((0, 32 * 32), np.uint8)
    return [
        Line(np.rint(film).astype(np.int16), np.ones(len(film), np.bool_), np.full(len(film), -1, np.int32), nothing)
        for film in films
    ]


def changes(random: np.random.Generator, num_windows: int) -> np.ndarray:
    steps = random.normal(0, 18, (num_windows + 4, DIMENSION))
    moving: np.ndarray = sum(steps[at : at + num_windows] for at in range(5)) + random.normal(0, 40, DIMENSION)
    return moving


def compare_products(rows: np.ndarray) -> None:
    """The same bits in every precision."""
    import cupy

    expected = rows @ rows.T
    for precision in PRECISIONS.values():
        found = product(cupy.asarray(rows), precision).get()
        tell(f"products of {len(rows):,} segments, {precision.name}", agrees=same(found, expected))


def compare_seeds(length: str, segments: Segments, least: float) -> None:
    """How fast seeds are found, and whether those of a sample are the CPU's; so are the votes of one cell."""
    here, sample = on_device(segments), first_of(segments, sized(4000, 300))
    seconds = fastest(lambda: list(find_seeds(here, here, least)), rounds=2)
    tell(f"seeds among {len(here):,} segments of {length}", len(here) ** 2 / seconds / 1e9, "billion pairs/s")
    found = columns(find_seeds(on_device(sample), here, least))
    expected = columns(find_seeds(sample, segments, least))
    more = len(expected[0]) > len(sample)  # each is alike to itself, and some to others
    tell(f"seeds of {len(sample):,} of them", f"{len(expected[0]):,} pairs", agrees=more and alike(found, expected))
    votes = columns(moving_votes(on_device(sample), on_device(sample), least))
    expected = columns(moving_votes(sample, sample, least))
    tell(f"votes of {len(sample):,} of them", f"{len(expected[0]):,} pairs", agrees=alike(votes, expected))


def compare_overlaps(lines: list[Line]) -> None:
    """What is found from the device's seeds."""
    segments = segments_of(lines, THRESHOLDS.min_energy)
    here = on_device(segments)
    found = list(pairs.moving_overlaps(lines, None, (here, here), THRESHOLDS))
    expected = list(pairs.moving_overlaps(lines, None, (segments, segments), THRESHOLDS))
    copies = len(range(1, len(lines), COPY_EVERY))
    told = f"overlaps of {len(lines)} videos, {copies} of which hold a copy"
    tell(told, f"{len(found)}", agrees=found == expected and len(found) >= copies)


def on_device(segments: Segments) -> Segments:
    import cupy

    return Segments(cupy.asarray(segments.rows), segments.line, segments.start)


def first_of(segments: Segments, number: int) -> Segments:
    return Segments(*(column[:number] for column in astuple(segments)))


def columns(seeds: Iterable[Seeds]) -> list[np.ndarray]:
    """The columns of all seeds."""
    parts: list[tuple[Any, ...]] = [astuple(part) for part in seeds]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def alike(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(same(one, other) for one, other in zip(found, expected, strict=True))


if __name__ == "__main__":
    main()
