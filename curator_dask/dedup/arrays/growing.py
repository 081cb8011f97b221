"""A column of numbers that grows as values come, without a second copy of all of them at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST_ROWS = 1 << 16


class Growing:
    """Values in one array with room for more. The system gives memory to the part that is filled only.

    >>> column = Growing(np.int32)
    >>> column.add(np.array([1, 2], np.int32))
    >>> column.add(np.array([3], np.int64))
    >>> column.values(), column.values().dtype.name
    (array([1, 2, 3]), 'int64')
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._room: NDArray[Any] = np.empty(FIRST_ROWS, dtype)
        self._count = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add values at the end. All become of the wider type if these are of another one."""
        stop = self._count + len(values)
        dtype = np.result_type(self._room.dtype, values.dtype)
        if stop > len(self._room) or dtype != self._room.dtype:
            larger = np.empty(max(2 * len(self._room), stop), dtype)
            larger[: self._count] = self._room[: self._count]
            self._room = larger
        self._room[self._count : stop] = values
        self._count = stop

    def values(self) -> NDArray[Any]:
        """(N,) all of them, as a view."""
        return self._room[: self._count]
