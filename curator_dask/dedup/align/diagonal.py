"""Two lines laid over each other at one offset: how alike are their pictures, and how alike is what changes in them?

For a run of windows with the rows a and b:

* ``picture`` is the cosine of all rows of a with all rows of b, taken as one vector each.
* ``motion`` is the same after the mean row of each side is taken away. What stands in the picture is then gone, and what
  moves is left.
* ``energy`` is the length of what moves over the length of what stands, of the livelier side.

Rows are means over a whole second, every half second. Where the offset is no whole number of windows, the rows of
one side are weighted means of the two neighbouring seconds. All sums of up to 200 rows run over whole numbers below
2**53, so their order does not matter. This runs on the host, also where the seeds were found on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.line import Line

QUARTERS_PER_WINDOW = 2


@dataclass(frozen=True)
class Alignment:
    """The rows of two lines that lie over each other, and running sums over them. Row r is the second that begins with
    window ``first_x + r`` of x."""

    first_x: int
    first_y: int
    sums: NDArray[np.float64]
    """(n + 1, 4) running sums of: usable rows, x·x, y·y, x·y."""
    vectors_x: NDArray[np.float64]
    """(n + 1, D) running sums of the rows of x."""
    vectors_y: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sums) - 1


@dataclass(frozen=True)
class Likeness:
    """What `compare` finds out about runs of rows; (R,) each."""

    num_rows: NDArray[np.float64]
    """Rows of the run that are usable on both sides."""
    picture: NDArray[np.float64]
    motion: NDArray[np.float64]
    energy: NDArray[np.float64]


def align(x: Line, y: Line, offset: int, *, steps: int = QUARTERS_PER_WINDOW) -> Alignment:
    """Lay y over x. `offset` is in parts of a window, `steps` of them: second t of x lies over second
    t - offset / (2 * steps) of y. By default these are quarter seconds."""
    whole, part = divmod(offset, steps)
    rows_x, usable_x = seconds(x, scale=steps if part else 1)
    rows_y, usable_y = _between_seconds(y, part, steps) if part else seconds(y)
    # A row between two rows of y has the number of the earlier one.
    shift = whole + (part > 0)
    first_x, first_y = max(0, shift), max(0, -shift)
    num_rows = max(0, min(len(rows_x) - first_x, len(rows_y) - first_y))
    both = (usable_x[first_x : first_x + num_rows] & usable_y[first_y : first_y + num_rows])[:, None]
    a, b = rows_x[first_x : first_x + num_rows] * both, rows_y[first_y : first_y + num_rows] * both
    products = np.concatenate(
        [both, *((p * q).sum(axis=1, keepdims=True) for p, q in ((a, a), (b, b), (a, b)))], axis=1
    )
    return Alignment(first_x, first_y, _running(products), _running(a), _running(b))


def compare(alignment: Alignment, first: NDArray[np.int64], stop: NDArray[np.int64]) -> Likeness:
    """Compare runs of rows [first, stop), R of them. Runs without usable rows, or without change, have motion 0."""
    num_rows, xx, yy, xy = (alignment.sums[stop] - alignment.sums[first]).T
    sum_x, sum_y = (sums[stop] - sums[first] for sums in (alignment.vectors_x, alignment.vectors_y))
    mean_xx, mean_yy, mean_xy = (
        np.einsum("ij,ij->i", p, q) for p, q in ((sum_x, sum_x), (sum_y, sum_y), (sum_x, sum_y))
    )
    moving_x, moving_y = num_rows * xx - mean_xx, num_rows * yy - mean_yy
    return Likeness(
        num_rows,
        picture=_ratio(xy, np.sqrt(xx) * np.sqrt(yy)),
        motion=_ratio(num_rows * xy - mean_xy, np.sqrt(moving_x) * np.sqrt(moving_y)),
        energy=np.sqrt(np.maximum(_ratio(moving_x, mean_xx), _ratio(moving_y, mean_yy))),
    )


def motion_about(
    alignment: Alignment, core: tuple[int, int], first: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(R,) the motion of runs of rows, measured from what stands in another run, the core, of the same diagonal.

    It tells where a run leaves what both sides share: a few rows beyond have no mean of their own to be measured from.
    """
    count = max(1.0, alignment.sums[core[1], 0] - alignment.sums[core[0], 0])
    mean_x, mean_y = ((sums[core[1]] - sums[core[0]]) / count for sums in (alignment.vectors_x, alignment.vectors_y))
    num_rows, xx, yy, xy = (alignment.sums[stop] - alignment.sums[first]).T
    sum_x, sum_y = (sums[stop] - sums[first] for sums in (alignment.vectors_x, alignment.vectors_y))
    moving_x = xx - 2 * sum_x @ mean_x + num_rows * (mean_x @ mean_x)
    moving_y = yy - 2 * sum_y @ mean_y + num_rows * (mean_y @ mean_y)
    shared = xy - sum_x @ mean_y - sum_y @ mean_x + num_rows * (mean_x @ mean_y)
    return _ratio(shared, np.sqrt(np.maximum(moving_x, 0)) * np.sqrt(np.maximum(moving_y, 0)))


def seconds(line: Line, *, scale: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(W - 1, D) sums of two neighbouring windows, times `scale`; and whether both are usable."""
    windows = line.windows.astype(np.float64) * scale
    return windows[:-1] + windows[1:], line.usable[:-1] & line.usable[1:]


def _between_seconds(line: Line, part: int, steps: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows between two neighbouring seconds, times `steps`: the nearer one weighs more."""
    rows, usable = seconds(line)
    return part * rows[:-1] + (steps - part) * rows[1:], usable[:-1] & usable[1:]


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
