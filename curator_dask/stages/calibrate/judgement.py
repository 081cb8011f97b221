"""Judge an embedding by the records of all clips: which pairs must match, and which must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.calibration import Calibration, calibrate
from curator_dask.runtime.state import StageState
from curator_dask.video.edits import EDITS

SAME_PICTURE = 12.0
"""Two clips whose mean pictures differ by at most so many grey levels (of 255) may show the same thing: moments of a still
camera, cuts of one shot, unknown copies. Such pairs are neither right nor wrong, so they are left out."""
CLOSEST_SHOWN = 5


def calibration_of_records(state: StageState, known_duplicates: Sequence[Sequence[str]] = ()) -> Calibration:
    """The calibration that the records of all clips lead to; see `CalibrateStage` for `known_duplicates`."""
    clips = sorted((clip for record in state.records() for clip in record.data.get("clips", ())), key=lambda c: c["id"])
    pairs: dict[tuple[str, str], NDArray[np.float64]] = {
        (edit.name, edit.kind): np.array([clip["cosines"][edit.name] for clip in clips], dtype=np.float64)
        for edit in EDITS
    }
    if not clips:
        return calibrate(pairs, np.empty(0), 0)
    first, second = _pairs_of_different(clips, known_duplicates)
    vectors = np.array([clip["vector"] for clip in clips], dtype=np.float64)
    cosines = np.einsum("ij,ij->i", vectors[first], vectors[second])
    closest = [
        (_title(clips[first[i]]), _title(clips[second[i]]), round(float(cosines[i]), 6))
        for i in np.argsort(-cosines, kind="stable")[:CLOSEST_SHOWN]
    ]
    return calibrate(pairs, cosines, len(clips), tuple(closest))


def _pairs_of_different(
    clips: Sequence[Mapping[str, Any]], known_duplicates: Sequence[Sequence[str]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the clips in all pairs that show different things, as far as pictures and user can tell."""
    signatures = np.array([clip["signature"] for clip in clips], dtype=np.float64)
    first, second = np.triu_indices(len(clips), 1)
    differs = np.abs(signatures[first] - signatures[second]).mean(axis=1) > SAME_PICTURE
    first, second = first[differs], second[differs]
    sources = [clip["source"] for clip in clips]
    unknown = np.array(
        [not _are_known(known_duplicates, sources[i], sources[j]) for i, j in zip(first, second, strict=True)],
        dtype=bool,
    )
    return first[unknown], second[unknown]


def _are_known(groups: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether a group names both videos."""
    return any(one in group and other in group for group in groups)


def _title(clip: Mapping[str, Any]) -> str:
    return f"{clip['id']} ({clip['source']})"
