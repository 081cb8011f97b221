"""The parameters of the align stage that a whole run takes too."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.keywords import with_suggestions


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class AlignParameters:
    """From where on two stretches of video count as the same moment."""

    strictness: float = 0.0
    """Raises the likeness of motion that a copy needs: 0 is what was measured to be right, 1 lets only perfect copies pass;
    below 0 more edited copies are found, and more moments that only look alike."""
    min_still_likeness: float = 0.92
    """Two still pictures are the same if every part of them is at least this much alike (see `dedup.align.stills`). Light edits
    leave 0.92 and more; another title on a slide 0.75 and less, most of them; a missing line 0.75 and less."""
    mirrored: bool = False
    """Also find copies whose picture is mirrored, left for right. The comparison takes about twice as long."""

    def __post_init__(self) -> None:
        self.thresholds()

    def thresholds(self) -> Thresholds:
        """The thresholds for the arithmetic. Raises ParameterError for values that cannot be meant."""
        return Thresholds(strictness=self.strictness, min_still_likeness=self.min_still_likeness)
