"""Which clips are not wanted for what their pictures are like: black, static, or with little motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curator_dask.errors import ParameterError

BLACK_SHARE: Final = 0.9
"""A clip counts as black if at least this share of its frames is: a clip with a second of picture in ten stays."""
BLACK, STATIC, LOW_MOTION = "black", "static", "low-motion"


class Limit(NamedTuple):
    """One thing for which clips are dropped."""

    reason: str
    column: str
    """Of the quality columns."""
    value: float

    def fails(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(N,) the clips whose values are on the wrong side of the limit; a NaN is on neither."""
        if self.reason == BLACK:
            return values >= self.value
        return values > self.value if self.reason == STATIC else values < self.value


@dataclass(frozen=True)
class QualityFilters:
    """What is asked of clips. Raises ParameterError for values that are no shares."""

    min_motion: float | None = None
    """The least ``motion_mean``."""
    max_static_share: float | None = None
    """The largest ``frozen_share``."""
    drop_black: bool = False
    """Drop clips with a ``black_share`` of `BLACK_SHARE` and more."""

    def __post_init__(self) -> None:
        for name, value in (("min_motion", self.min_motion), ("max_static_share", self.max_static_share)):
            if value is not None and not 0 <= value <= 1:
                raise ParameterError(f"{name} ({value}) must be a share from 0 to 1")

    def limits(self) -> list[Limit]:
        """The limits that were chosen, in the order in which they give the reason of a clip."""
        wanted = (
            Limit(BLACK, "black_share", BLACK_SHARE) if self.drop_black else None,
            None if self.max_static_share is None else Limit(STATIC, "frozen_share", self.max_static_share),
            None if self.min_motion is None else Limit(LOW_MOTION, "motion_mean", self.min_motion),
        )
        return [limit for limit in wanted if limit is not None]

    def identity(self) -> dict[str, Any]:
        """The filters that were chosen; nothing without any, as in records of versions without filters."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}

    def first_failed(self, columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.int64]:
        """(N,) the place in `limits` of the first limit that each clip fails; -1 for clips that stay.

        >>> filters = QualityFilters(min_motion=0.01, drop_black=True)
        >>> black, motion = np.array([1.0, 0.0, 0.95, 0.0]), np.array([0.0, 0.001, 0.2, 0.01])
        >>> filters.first_failed({"black_share": black, "motion_mean": motion}).tolist()
        [0, 1, 0, -1]
        """
        limits = self.limits()
        found = np.full(len(next(iter(columns.values()))), -1)
        for place in reversed(range(len(limits))):
            found[limits[place].fails(columns[limits[place].column])] = place
        return found
