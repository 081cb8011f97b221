"""What the workers of the previews stage are told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.files.folder import Folder

PREVIEWS = "previews"
VERSION = 1
"""Raise this number with any change to what a preview shows."""


@dataclass(frozen=True)
class PreviewTask:
    """One clip to make a preview of."""

    output: Folder
    """The folder of the clips, and of the previews beside them."""
    clip_id: str
    length_s: float
