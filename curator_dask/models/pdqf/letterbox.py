"""Cut off the plain bars above and below a picture, or left and right of it. They are looked for over a whole clip.

A bar squeezes the picture into fewer lines, so a descriptor of the whole frame does not match the picture without bars.
Bars count only as a pair of the same colour and nearly the same height: a caption strip, a dark floor or a sky is not
cut. A logo may cover part of a bar. A brighter or paler copy has the same bars.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Frames: TypeAlias = npt.NDArray[np.uint8]

PLAIN = 12
"""A pixel of a bar differs from the bar's colour by at most so many grey levels. Lossy coding and scaling cause it."""
COVERED = 0.25
"""At most this share of a line of a bar may have another colour, because a logo may lie over it."""
PICTURE = 0.5
"""At least this share of the first picture line is far from the bar's colour. Dark scenes have no such edge."""
WIDEST = 0.3
"""A bar takes at most this share of the height (or width). Wide-screen film in an upright frame has wider bars, which are
not cut: little picture would be left."""
_UNEQUAL = 2
"""The two bars may differ by so many lines, because scaling to a small size rounds their heights."""
_ONE = 1 << 8


def without_bars(frames: Frames) -> Frames:
    """Cut the bars off (T, H, W, 3) uint8 frames and scale the rest back to (H, W), bilinear.

    All steps use whole numbers, so the result is the same on every machine. Frames without bars are returned unchanged.

    An example: a frame of 10x4 pixels, all columns alike. Its bars are 2 lines high; the 6 lines between them are
    scaled to 10.

    >>> column = np.array([0, 0, 60, 60, 120, 120, 180, 180, 0, 0], np.uint8)
    >>> frames = np.broadcast_to(column[None, :, None, None], (1, 10, 4, 3))
    >>> without_bars(frames)[0, :, 0, 0].tolist()
    [60, 60, 60, 96, 120, 120, 144, 180, 180, 180]
    """
    top, bottom = _bars(frames)
    left, right = _bars(frames.swapaxes(1, 2))
    if not (top or bottom or left or right):
        return frames
    height, width = frames.shape[1:3]
    inner = frames[:, top : height - bottom, left : width - right]
    return _stretch(_stretch(inner, 1, height), 2, width)


def _bars(frames: Frames) -> tuple[int, int]:
    """The numbers of bar lines (axis 1) at the start and at the end; (0, 0) where there is no pair of bars."""
    colour = int(np.median(_grey(frames[:, 0])))
    first = _plain_lines(frames, colour)
    last = _plain_lines(frames[:, ::-1], colour) if first else 0
    return (first, last) if last and abs(first - last) <= _UNEQUAL else (0, 0)


def _plain_lines(frames: Frames, colour: int) -> int:
    """The number of lines at the start that have the colour; 0 where no clear edge follows them."""
    for line in range(int(WIDEST * frames.shape[1]) + 1):
        if _share_of_others(frames[:, line], colour) > COVERED:
            # Scaling blurs the edge over one line.
            beyond = max(_share_of_others(frames[:, at], colour, 2 * PLAIN) for at in (line, line + 1))
            return line if beyond >= PICTURE else 0
    return 0


def _share_of_others(line: Frames, colour: int, difference: int = PLAIN) -> float:
    return float((np.abs(_grey(line) - colour) > difference).mean())


def _grey(line: Frames) -> npt.NDArray[np.int16]:
    """(T, W, 3) → (T, W). Only tested lines are converted, because most pictures have no bars."""
    red, green, blue = (line[..., channel].astype(np.int16) for channel in range(3))
    grey: npt.NDArray[np.int16] = (red + green + blue) // 3
    return grey


def _stretch(frames: Frames, axis: int, size: int) -> Frames:
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
