"""One line of the campaign: what is done, how often, and what came of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.job import Job


class NotPossibleError(Exception):
    """This machine lacks what a line needs; the message says what."""


@dataclass
class Came:
    """What came of one line."""

    done: Counter[str] = field(default_factory=Counter)
    """What was done and seen, and how often."""
    faults: list[str] = field(default_factory=list)
    """Everything that should not have happened, in words."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know too, such as a size that was measured."""

    def expect(self, right: bool, seen: str, fault: str) -> bool:
        """Count what was seen if it is right, else note a fault."""
        if right:
            self.done[seen] += 1
        else:
            self.faults.append(fault)
        return right


@dataclass(frozen=True)
class Asked:
    """What a line is asked to do."""

    job: Job
    rounds: int
    chance: random.Random
    folder: Path
    """Its own, for what it needs beside the job's."""


@dataclass(frozen=True)
class Line:
    """One line."""

    name: str
    what: str
    """What is done to the job, and what must come of it, in a sentence or two."""
    run: Callable[[Asked, Came], None]
    """Adds to what came of it as it goes, so that a line that ends early still tells what it has seen."""
