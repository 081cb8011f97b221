"""From the records of all clips to a calibration: which pairs count as copies, and which as different clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curator_dask.dedup.calibration import Calibration, calibrate
from curator_dask.runtime.state import StageState
from curator_dask.video.edits import EDITS

SAME_PICTURE = 12.0
"""Two clips whose mean pictures differ by no more grey levels (of 255) may show the same thing: moments of a still
camera, cuts of one shot, unknown copies. Such pairs are neither right nor wrong, so they are left out."""
CLOSEST_SHOWN = 5


def calibration_of_records(state: StageState, known_duplicates: Sequence[Sequence[str]] = ()) -> Calibration:
    """The calibration that follows from the records of all clips."""
    clips = sorted((clip for record in state.records() for clip in record.data.get("clips", ())), key=lambda c: c["id"])
    pairs: dict[tuple[str, str], np.ndarray[Any, np.dtype[np.float64]]] = {
        (edit.name, edit.kind): np.array([clip["cosines"][edit.name] for clip in clips], dtype=np.float64)
        for edit in EDITS
    }
    if not clips:
        return calibrate(pairs, np.empty(0), 0)
    vectors = np.array([clip["vector"] for clip in clips], dtype=np.float64)
    signatures = np.array([clip["signature"] for clip in clips], dtype=np.float64)
    first, second = _pairs_of_different_clips(signatures)
    unknown = [not _show_the_same(known_duplicates, clips[i]["source"], clips[j]["source"])
               for i, j in zip(first, second, strict=True)]  # fmt: skip
    first, second = first[unknown], second[unknown]
    cosines = np.einsum("ij,ij->i", vectors[first], vectors[second])
    most = np.argsort(-cosines, kind="stable")[:CLOSEST_SHOWN]
    closest = [(_title(clips[first[i]]), _title(clips[second[i]]), round(float(cosines[i]), 6)) for i in most]
    return calibrate(pairs, cosines, len(clips), tuple(closest))


def _title(clip: Mapping[str, Any]) -> str:
    return f"{clip['id']} ({clip['source']})"


def _show_the_same(groups: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether the two videos are known to show the same thing."""
    return any(one in group and other in group for group in groups)


def _pairs_of_different_clips(signatures: Any) -> tuple[Any, Any]:
    """Row indices of the pairs of clips that show different things."""
    first, second = np.triu_indices(len(signatures), 1)
    differs = np.abs(signatures[first] - signatures[second]).mean(axis=1) > SAME_PICTURE
    return first[differs], second[differs]
