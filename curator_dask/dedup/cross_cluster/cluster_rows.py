"""Rows of one cluster, as they are and in one byte per number, and some of them as a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from curator_dask.dedup.arrays.one_byte import OneByte, to_one_byte
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks

SAMPLE_ROWS: Final = 64
SAMPLE_EVERY: Final = 2  # at most one row in two is sampled, or the estimate costs as much as it saves


@dataclass(frozen=True, slots=True)
class ClusterRows:
    """Rows of one cluster, (N, D), and the same rounded to numbers of one byte."""

    exact: Array
    rounded: OneByte

    @classmethod
    def of(cls, X: Array) -> ClusterRows:
        """The numbers are made a block at a time, so that little memory is needed besides them."""
        parts = [to_one_byte(X[rows]) for rows in row_blocks(len(X), block_rows(X, 16 * X.shape[1]))]
        return cls(X, OneByte(*map(array_module(X).concatenate, zip(*parts, strict=True))))

    def sample(self) -> OneByte:
        """Some rows, evenly spaced."""
        return self.rounded.take(slice(None, None, sample_step(self.exact)))

    def error(self) -> float:
        """The farthest that a row is moved by rounding."""
        return float(self.rounded.errors.max())


def sample_step(X: Array) -> int:
    """Every how many rows of X one is sampled."""
    return max(SAMPLE_EVERY, -(-int(X.shape[0]) // SAMPLE_ROWS))
