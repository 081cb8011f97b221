"""How much frames differ from those before once the camera's motion is taken away. Arithmetic on small frames.

In a fast pan each frame differs from the one before nearly as much as from a frame of another shot. Moved by the right number
of pixels, the two are alike again; across a cut no shift makes them so. The shift is found by phase correlation (Kuglin and
Hines, 1975).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Shifts = npt.NDArray[np.int64]


def steps_without_motion(grey: Floats) -> Floats:
    """(N,): the mean difference of each frame from the one before, where both show the same part of the scene.

    Args:
        grey: (N, height, width) grey levels (0 to 255).

    Returns:
        (N,) in grey levels, not above the difference without a shift; infinite for the first frame.
    """
    steps = np.full(len(grey), np.inf, np.float32)
    if len(grey) < 2:
        return steps
    unmoved = np.abs(grey[1:] - grey[:-1]).mean(axis=(1, 2))
    moved = [_difference(grey[t], grey[t + 1], down, right) for t, (down, right) in enumerate(_shifts(grey).tolist())]
    steps[1:] = np.minimum(unmoved, moved)
    return steps


def _shifts(grey: Floats) -> Shifts:
    """(N - 1, 2): how far each frame is moved from the one before, down and to the right; at most a third of the picture."""
    _, height, width = grey.shape
    fading_edges = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    spectra = np.fft.rfft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * fading_edges)
    crossed = spectra[1:] * spectra[:-1].conj()
    peaks = np.fft.irfft2(crossed / (np.abs(crossed) + 1e-3), s=(height, width))
    near = (_signed(height)[:, None], _signed(width)[None, :])
    peaks[:, (np.abs(near[0]) > height // 3) | (np.abs(near[1]) > width // 3)] = -np.inf
    down, right = np.unravel_index(peaks.reshape(len(peaks), -1).argmax(axis=1), (height, width))
    return np.stack([_signed(height)[down], _signed(width)[right]], axis=1)


def _signed(length: int) -> Shifts:
    """(length,): the shifts that the places of a circular correlation mean."""
    places = np.arange(length)
    return np.where(places > length // 2, places - length, places)


def _difference(before: Floats, after: Floats, down: int, right: int) -> np.float32:
    """The mean difference where both lie over each other, when `after` is `before` moved down and to the right."""
    height, width = before.shape
    kept = before[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    moved = after[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    difference: np.float32 = np.abs(moved - kept).mean()
    return difference
