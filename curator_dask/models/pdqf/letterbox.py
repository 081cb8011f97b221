"""Plain bars above and below a picture, or left and right of it: found over a whole clip, and cut off.

A bar squeezes what matters into fewer lines, and a descriptor of the whole frame no longer matches the picture without
bars. Only a pair of bars counts, of one colour and nearly equal height: a caption strip, a dark floor or a sky move
nothing. A logo may cover part of a bar, and a brighter or paler copy has the same bars.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Frames: TypeAlias = npt.NDArray[np.uint8]

PLAIN = 12
"""Grey levels by which the pixels of a bar differ from its colour: what lossy coding and scaling leave around it."""
COVERED = 0.25
"""Share of a line of a bar that may be something else: a logo lies over it."""
PICTURE = 0.5
"""Least share of the first line of the picture that is far from the bar's colour: dark scenes have no such edge."""
WIDEST = 0.3
"""Of the height (or width), the most that one bar takes: wide-screen film in an upright frame has more, and little left."""
_UNEQUAL = 2
"""Lines by which two bars may differ: scaling to a small size rounds them."""
_ONE = 1 << 8


def without_bars(frames: Frames) -> Frames:
    """(T, H, W, 3) uint8 frames with the bars cut off and the rest scaled back to (H, W), bilinear.

    Whole numbers throughout, so the result is the same on every machine. Without bars the input itself is returned.
    """
    top, bottom = _bars(frames)
    left, right = _bars(frames.swapaxes(1, 2))
    if not (top or bottom or left or right):
        return frames
    height, width = frames.shape[1:3]
    inner = frames[:, top : height - bottom, left : width - right]
    return _scaled(_scaled(inner, 1, height), 2, width)


def _bars(frames: Frames) -> tuple[int, int]:
    """How many lines (axis 1) at the start and at the end are bars; (0, 0) where they are no pair."""
    colour = int(np.median(_grey(frames[:, 0])))
    first = _plain_lines(frames, colour)
    last = _plain_lines(frames[:, ::-1], colour) if first else 0
    return (first, last) if last and abs(first - last) <= _UNEQUAL else (0, 0)


def _plain_lines(frames: Frames, colour: int) -> int:
    """How many lines at the start have the colour and end at a clear edge; 0 where they fade into the picture."""
    for line in range(int(WIDEST * frames.shape[1]) + 1):
        if _share_of_others(frames[:, line], colour) > COVERED:
            # Scaling blurs the edge over one line.
            beyond = max(_share_of_others(frames[:, at], colour, 2 * PLAIN) for at in (line, line + 1))
            return line if beyond >= PICTURE else 0
    return 0


def _share_of_others(line: Frames, colour: int, difference: int = PLAIN) -> float:
    return float((np.abs(_grey(line) - colour) > difference).mean())


def _grey(line: Frames) -> npt.NDArray[np.int16]:
    """(T, W, 3) → (T, W); only the lines that are looked at, as most pictures have no bars."""
    red, green, blue = (line[..., channel].astype(np.int16) for channel in range(3))
    grey: npt.NDArray[np.int16] = (red + green + blue) // 3
    return grey


def _scaled(frames: Frames, axis: int, size: int) -> Frames:
    """Stretch one axis to ``size``: half-pixel centres, edges repeated, weights in 256ths."""
    have = frames.shape[axis]
    if have == size:
        return frames
    # Positions in 256ths of a source line, rounded down: ((2 i + 1) * have / size - 1) / 2.
    at = ((2 * np.arange(size) + 1) * have * _ONE // size - _ONE) // 2
    at = np.clip(at, 0, (have - 1) * _ONE)
    low = at // _ONE
    shape = [1] * frames.ndim
    shape[axis] = size
    # 255 * 256 and a half still fit into 16 bits.
    weight = (at - low * _ONE).astype(np.uint16).reshape(shape)
    before = frames.take(low, axis) * (np.uint16(_ONE) - weight)
    after = frames.take(np.minimum(low + 1, have - 1), axis) * weight
    before += after
    before += np.uint16(_ONE // 2)
    before >>= np.uint16(8)
    scaled: Frames = before.astype(np.uint8)
    return scaled
