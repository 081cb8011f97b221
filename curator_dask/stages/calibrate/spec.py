"""What the workers of the calibrate stage are told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.stages.embed.spec import ClipToEmbed, EmbedSpec

CALIBRATE = "calibrate"
"""The stage's name in records and folders."""


@dataclass(frozen=True)
class CalibrateTask:
    """One clip to edit, and how vectors are computed."""

    spec: EmbedSpec
    clip: ClipToEmbed
    key: str
    """Key of the unit; it names the file with the track of the clip."""
