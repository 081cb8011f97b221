"""Brute force in float64, written like the formulas, and rows to test with."""

from __future__ import annotations

import numpy as np


def unit(rows) -> np.ndarray:
    wide = np.asarray(rows, dtype=np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def random_unit(num_rows: int, dim: int, seed: int, *, copies: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """Random unit rows. The share ``copies`` of them are copies of other rows with ``noise`` added."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((num_rows, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    repeated = random.random(num_rows) < copies
    source = random.integers(0, num_rows, num_rows)
    rows[repeated] = rows[source[repeated]] + noise * random.standard_normal((int(repeated.sum()), dim))
    return unit(rows)


def cosines(X: np.ndarray) -> np.ndarray:
    wide = X.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide @ wide.T


def earlier(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row j: ``max(0, max over i < j of cos)`` and that i, by the definition; cosines in steps of 2**-24."""
    steps = np.rint(cosines(X) * 2.0**24)
    score, index = np.zeros(len(X)), np.arange(len(X))
    for j in range(1, len(X)):
        best = int(steps[:j, j].argmax())
        if steps[best, j] >= 0:
            score[j], index[j] = min(1.0, steps[best, j] / 2.0**24), best
    return score, index


EXAMPLE_1 = unit([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [1, 2, 3], [1, 2, 3]])
EXAMPLE_2 = np.array(
    [[1, 0, 0, 0], [0.96, 0.28, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0.96, 0, 0.28]], dtype=np.float32
)
EXAMPLE_4 = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=np.float32)


def chain() -> np.ndarray:
    """Example 3: cos(AB) = cos(BC) = .995 and cos(AC) = .980."""
    angles = np.arccos(0.995) * np.arange(3)
    return unit(np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1))
