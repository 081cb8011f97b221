"""Memory for the vectors of several files, one behind the other, so that joining them copies nothing.

Memory that no one has used yet costs the kernel as long as a pass over the numbers, or longer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module


class Room:
    """Room for (m, D) float32."""

    def __init__(self, num_rows: int, dimension: int) -> None:
        self._rows = np.empty((num_rows, dimension), np.float32)  # takes no memory before it is written to
        self._taken = 0

    @property
    def free(self) -> NDArray[np.float32]:
        """(n, D), what is left of it."""
        return self._rows[self._taken :]

    def take(self, X: Array) -> None:
        """Keep the rows X (n, D), if they were put at the beginning of what was free."""
        if self._holds(X):
            self._taken += len(X)

    def join(self, parts: Sequence[Array]) -> Array:
        """The rows of all parts, in order; a copy only where some of them lie elsewhere."""
        if len(parts) == 1:
            return parts[0]
        if all(map(self._holds, parts)):
            return self._rows[: self._taken]
        return array_module(parts[0]).concatenate(parts)

    def _holds(self, X: Array) -> bool:
        return array_module(X) is np and X.base is self._rows
