"""What a check of an output may find."""

from __future__ import annotations

from dataclasses import dataclass

MISSING, CHANGED, DAMAGED = "missing", "changed", "damaged"
DOUBLED, EXTRA, ORPHANED, COUNTS = "doubled", "extra", "orphaned", "counts"

REDONE = frozenset({MISSING, CHANGED, DAMAGED})
"""Kinds that the next run makes anew once they are marked."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as the records say."""

    stage: str
    """The stage, with its folder where an output has several of that name: ``kmeans``; "" for a file of no stage."""
    path: str
    """The file, relative to the output."""
    kind: str
    """``missing``, ``changed``, ``damaged`` (a record that cannot be read), ``doubled``, ``extra``, ``orphaned``, ``counts``."""
    what: str
    """The kind in words."""
    unit: str = ""
    """The unit that wrote the file; "" for a file of the stage as a whole."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"
