"""Some rows of a matrix, which stay where they are until they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array


@dataclass(frozen=True, slots=True)
class Some:
    """Rows of a matrix by their numbers. To copy all of them at once would fill memory twice, and take longer.

    >>> X = np.float32([[0], [1], [2], [3]])
    >>> Some(X, np.array([3, 1]))[1:].tolist(), Some(X)[2:].tolist(), len(Some(X, np.array([3, 1])))
    ([[1.0]], [[2.0], [3.0]], 2)
    """

    X: Array
    """(N, D)"""
    rows: NDArray[np.int64] | None = None
    """(n,) the rows that are meant, in this order; None: all of X."""

    @staticmethod
    def of(X: Array | Some) -> Some:
        """All rows of a matrix, where it is not some rows already."""
        return X if isinstance(X, Some) else Some(X)

    def __len__(self) -> int:
        return int(self.X.shape[0]) if self.rows is None else len(self.rows)

    def __getitem__(self, which: Any) -> Array:
        """The rows at these places among those that are meant."""
        return self.X[which] if self.rows is None else self.X[self.rows[which]]
