"""How long work still takes, from what this run itself has done, and how lengths of time are told."""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_DONE = 3
SHORTEST_S = 3.0
"""Before so much is done and so many seconds have passed, nobody knows."""


@dataclass
class Pace:
    """What is done of a stage, and since when. What earlier runs did says nothing of the pace."""

    total: int
    began_s: float
    """When the work began, by any clock in seconds."""
    before: int | None = None
    """What earlier runs had done: the first number that is told."""
    now: int = 0
    """What this run has done."""
    video_s: float = 0.0
    """Seconds of video in it."""

    def advance(self, count: int) -> None:
        if self.before is None:
            self.before = count
        else:
            self.now += count

    @property
    def done(self) -> int:
        return (self.before or 0) + self.now

    def left_s(self, at_s: float) -> float | None:
        """The seconds that the rest takes at the pace so far; None where it is too early to tell, or nothing is left."""
        passed_s, left = at_s - self.began_s, self.total - self.done
        if self.now < FEWEST_DONE or passed_s < SHORTEST_S or left <= 0:
            return None
        return passed_s * left / self.now


def left_text(seconds: float | None, unit: str) -> str:
    """``about 3 min left``; "" where it is not known. Iterations may end early, so theirs is ``at most``."""
    if seconds is None:
        return ""
    return f"{'at most' if unit == 'iterations' else 'about'} {_rounded(seconds)} left"


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def duration_text(seconds: float) -> str:
    """Hours, minutes and seconds: ``0:01:40 h``."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d} h"
