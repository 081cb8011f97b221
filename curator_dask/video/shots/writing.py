"""How what stands in a picture changes at once: is it another page, or was something written on this one?

A caption changes a picture that stands as much as the next slide of a set does, but elsewhere and otherwise::

    a caption, a bullet, a pointer       lines come, go or are replaced in a narrow band
    the next slide                       lines go in places and come in others, over much of the height

Arithmetic on small frames. A line of text is one or two pixels high there, and a row of short steps of grey levels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_STEP = 8.0
"""Grey levels by which the texture of a pixel (what it differs by from the one to the right and the one below) has changed."""
_PIXELS_PER_ROW = 2
"""So many pixels of a row change where a line of text does."""
_GAP = 3
"""So many rows may lie between two lines of one page. A caption and a clock are further apart."""


def compare_writing(before: Floats, after: Floats) -> tuple[float, float]:
    """How the texture changes from one picture to the next, both (height, width) in grey levels (0 to 255).

    Returns:
        The share of the height over which it comes, or over which it goes: the larger one.
        The share of the pixels where it comes, or where it goes: the smaller one. It is 0 where something is only added.
    """
    change = _texture(after) - _texture(before)
    comes, goes = change > _STEP, change < -_STEP
    height = max(_tallest(comes), _tallest(goes)) / len(change)
    return height, float(min(comes.mean(), goes.mean()))


def compare_neighbours(grey: Floats, those: Flags) -> tuple[Floats, Floats]:
    """Twice (N,): what `compare_writing` says of those of the frames (N, height, width) and the ones before; 0 for all others."""
    both = np.zeros((2, len(grey)), np.float32)
    for t in np.flatnonzero(those).tolist():
        both[:, t] = compare_writing(grey[t - 1], grey[t])
    return both[0], both[1]


def _texture(picture: Floats) -> Floats:
    """(height, width): how much each pixel differs from the one to the right and the one below."""
    texture = np.zeros_like(picture)
    texture[:, :-1] = np.abs(np.diff(picture, axis=1))
    texture[:-1] += np.abs(np.diff(picture, axis=0))
    return texture


def _tallest(changed: Flags) -> int:
    """The rows from the first to the last of those that lie together and have changed."""
    rows = np.flatnonzero(changed.sum(axis=1) >= _PIXELS_PER_ROW)
    if not len(rows):
        return 0
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > _GAP + 1) + 1)
    return max(int(part[-1] - part[0]) + 1 for part in parts)
