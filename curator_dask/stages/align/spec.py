"""What the workers of the align stage are told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.files.folder import Folder

ALIGN = "align"
"""The stage's name in records and folders."""
VERSION = 5
"""Raise this number with any change to what counts as an overlap."""


@dataclass(frozen=True)
class LineGroup:
    """Some source videos whose lines one task holds."""

    tracks: Folder
    """The folder of vectors, with the tracks below it."""
    number: int
    sources: tuple[str, ...]
    paths: tuple[str, ...]
    """The track files that hold their clips, and maybe clips of others."""
    version: str
    """Digest of what the tracks were made from."""
    reference: int = 0
    """0 for new videos; else the number of the reference that they are of, from 1. Those are compared with new videos only,
    and not with each other. Such groups come after all new ones."""
    mirror_of: int | None = None
    """For a group of mirrored lines: the number of the group that they are made from. Mirrored lines are compared with new
    lines only, and come last."""

    @property
    def is_new(self) -> bool:
        """Whether these are the lines that all others are compared with."""
        return not self.reference and self.mirror_of is None


@dataclass(frozen=True)
class AlignSpec:
    """Where overlaps are written, and what counts as one."""

    output: Folder
    thresholds: Thresholds


@dataclass(frozen=True)
class PairTask:
    """One unit: the lines of two groups, or of one with itself."""

    spec: AlignSpec
    x: LineGroup
    y: LineGroup
    table: str
    """Path in the output of the Arrow file to write."""


@dataclass(frozen=True)
class CellSpec:
    """What all passes over cells are told."""

    align: AlignSpec
    between: str
    """Folder in the output of the files between the passes."""
    first_lines: tuple[int, ...]
    """The number of the first line of each group, counted over all groups; then the number of lines."""
    sample_rows: int
    """Rows of each group that the centres are made from."""
    num_new_lines: int
    """The lines from this number on are those of references, and mirrored ones."""
    num_true_lines: int
    """The lines from this number on are mirrored, in the order of those before."""
    short: bool = False
    """Whether there are lines too short for a segment; their two seconds are then compared with those of all lines."""
    num_parts: int = 1
    """The cells are cut into so many parts; a unit compares the rows of one."""

    def mirror_of(self, line: int) -> int | None:
        """The line that a mirrored line is made from; None for others."""
        return line - self.num_true_lines if line >= self.num_true_lines else None

    @property
    def num_groups(self) -> int:
        return len(self.first_lines) - 1

    def path(self, kind: str, number: int) -> str:
        """Path of a file between the passes, of a group or of a part."""
        return f"{self.between}/{kind}-{number:05d}.arrow"

    def paths(self, kind: str) -> list[str]:
        """The files of all groups."""
        return [self.path(kind, number) for number in range(self.num_groups)]

    def paths_of_parts(self, kind: str) -> list[str]:
        """The files of all parts."""
        return [self.path(kind, number) for number in range(self.num_parts)]

    def centres(self, kind: str) -> str:
        """Path of the centres of all cells."""
        return f"{self.between}/{kind}-centres.bin"


@dataclass(frozen=True)
class CellGroupTask:
    """One unit of a pass over groups."""

    spec: CellSpec
    group: LineGroup
    table: str
    """Path in the output of the Arrow file with overlaps, in the last pass."""


@dataclass(frozen=True)
class CellPartTask:
    """One unit of the pass over parts of the cells."""

    spec: CellSpec
    part: int
