"""How a picture that stands changes at once: is it another page, or was something written on this one?

A caption changes a picture that stands as much as the next slide of a set does, but elsewhere and otherwise::

    a caption, a bullet, a pointer       a narrow band changes
    the next slide                       much of the height changes: text goes in places and comes in others

Arithmetic on small frames. A line of text is one or two pixels high there, and a row of short steps of grey levels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_STEP = 8.0
"""Grey levels by which a pixel has changed, or its texture: what it differs by from the one to the right and the one below."""
_TIMES = 1.5
"""Texture comes where it grows so many times too. Where a decoder refines a picture, all texture changes a little."""
_PIXELS_PER_ROW = 3
"""So many pixels of a row change where a line of text does. A pointer is smaller."""
_GAP = 3
"""So many rows may lie between two lines of one page. A caption and a clock are further apart."""


def compare_writing(before: Floats, after: Floats) -> tuple[float, float]:
    """How a picture changes to the next, both (height, width) in grey levels (0 to 255).

    Returns:
        The share of the height that changes, from the first to the last row of those that lie together.
        The share of the pixels where texture comes, or where it goes: the smaller one. It is 0 where something is only added.
    """
    old, new = _texture(before), _texture(after)
    height = _tallest(np.abs(after - before) > _STEP) / len(before)
    return height, float(min(_grows(old, new).mean(), _grows(new, old).mean()))


def compare_neighbours(grey: Floats, those: Flags) -> tuple[Floats, Floats]:
    """Twice (N,): what `compare_writing` says of those of the frames (N, height, width) and the ones before; 0 for all others."""
    both = np.zeros((2, len(grey)), np.float32)
    for t in np.flatnonzero(those).tolist():
        both[:, t] = compare_writing(grey[t - 1], grey[t])
    return both[0], both[1]


def _grows(old: Floats, new: Floats) -> Flags:
    """Where there is much more texture in the second picture."""
    grows: Flags = (new - old > _STEP) & (new > _TIMES * old)
    return grows


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
