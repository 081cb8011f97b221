"""Lines made by arithmetic: scenes that change at random, and still pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.line import ClipTrack, Line, lay_out

DIMENSION = 66
PICTURE = 32 * 32


def scene(seed: int, num_windows: int, *, moving: float = 1.0) -> NDArray[np.float64]:
    """(W, 66) a standing picture, and on it a smooth random change of the given energy."""
    random = np.random.default_rng(seed)
    standing = random.normal(0, 40, DIMENSION)
    steps = random.normal(0, 1, (num_windows + 4, DIMENSION))
    smooth = sum(steps[at : at + num_windows] for at in range(5)) / np.sqrt(5)
    change: NDArray[np.float64] = smooth * moving * np.linalg.norm(standing) / np.sqrt(DIMENSION)
    return standing + change


def line_of(rows: NDArray[np.float64], *, clip_windows: int = 20) -> Line:
    """The line of a video that is cut into clips of ten seconds."""
    tracks = [track(rows[at : at + clip_windows], start_s=at / 2) for at in range(0, max(1, len(rows)), clip_windows)]
    return lay_out(tracks)


def track(rows: NDArray[np.float64], *, start_s: float = 0.0, picture: NDArray[np.uint8] | None = None) -> ClipTrack:
    """The track of a clip; with a `picture`, it stands still all the time."""
    windows = np.rint(rows).astype(np.int16)
    stills = np.zeros((0, 2), np.int32) if picture is None else np.array([[0, len(rows)]], np.int32)
    pictures = np.zeros((0, PICTURE), np.uint8) if picture is None else picture.reshape(1, PICTURE)
    return ClipTrack(start_s, windows, np.ones(len(rows), np.bool_), stills, pictures)


def overlaps_of(lines: list[Line], strictness: float = 0.0) -> list[tuple[int, int, float, float, float]]:
    """(line, other line, start and end in the first, offset), in seconds, of all overlaps of a set of lines."""
    from curator_dask.dedup.align.judge import Thresholds
    from curator_dask.dedup.align.pairs import moving_overlaps, still_overlaps
    from curator_dask.dedup.align.seeds import segments_of

    thresholds = Thresholds(strictness=strictness)
    segments = segments_of(lines, thresholds.min_energy)
    found = [
        *moving_overlaps(lines, None, (segments, segments), thresholds),
        *still_overlaps(lines, None, thresholds),
    ]
    return sorted((i, j, one.first_x / 2, one.stop_x / 2, one.offset / 4) for i, j, one in found)
