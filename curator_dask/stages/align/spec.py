"""What the workers of the align stage are told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.files.folder import Folder

ALIGN = "align"
"""The stage's name in records and folders."""
VERSION = 1
"""Raise this number with any change to what counts as an overlap."""


@dataclass(frozen=True)
class LineGroup:
    """Some source videos whose lines one task holds."""

    number: int
    sources: tuple[str, ...]
    paths: tuple[str, ...]
    """The track files that hold their clips, and maybe clips of others."""
    version: str
    """Digest of what the tracks were made from."""


@dataclass(frozen=True)
class AlignSpec:
    """Where tracks and overlaps lie, and what counts as an overlap."""

    tracks: Folder
    """The folder of vectors, with the tracks below it."""
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
