"""Judge an embedding by the records of all clips: which pairs must match, and which must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.calibration import Calibration, calibrate
from curator_dask.runtime.state import StageState
from curator_dask.stages.calibrate.tracks.judge import Pairs, judge_overlap, title
from curator_dask.video.edits import EDITS, LATE

SAME_PICTURE = 12.0
"""Two clips whose mean pictures differ by at most so many grey levels (of 255) may show the same thing: moments of a still
camera, cuts of one shot, unknown copies. For vectors such pairs are neither right nor wrong. For tracks they are wrong where
both clips are of one video, whose other moments are known."""
CLOSEST_SHOWN = 5


@dataclass(frozen=True)
class DifferentPairs:
    """Pairs of clips that the user did not name as known duplicates."""

    other_videos: Pairs
    """Clips of different videos, whose pictures differ."""
    other_moments: Pairs
    """Clips of one video that share no second of it; of a still camera too."""
    alike: NDArray[np.bool_]
    """For each of the other moments, whether the pictures are alike."""

    def false_pairs(self) -> Pairs:
        """All pairs whose pictures differ: no vector should take them for the same."""
        first, second = (
            np.concatenate([videos, moments[~self.alike]])
            for videos, moments in zip(self.other_videos, self.other_moments, strict=True)
        )
        order = np.lexsort((second, first))
        return first[order], second[order]


def clips_of_records(state: StageState) -> list[dict[str, Any]]:
    """What the workers found out about each clip, by id."""
    return sorted((clip for record in state.records() for clip in record.data.get("clips", ())), key=lambda c: c["id"])


def calibration_of_records(state: StageState, known_duplicates: Sequence[Sequence[str]] = ()) -> Calibration:
    """The calibration that the records of all clips lead to; see `CalibrateStage` for `known_duplicates`."""
    clips = clips_of_records(state)
    pairs: dict[tuple[str, str], NDArray[np.float64]] = {
        (edit.name, edit.kind): np.array([clip["cosines"][edit.name] for clip in clips if edit.name in clip["cosines"]])
        for edit in (*EDITS, *LATE)
        if edit in EDITS or any(edit.name in clip["cosines"] for clip in clips)
    }
    if not clips:
        return calibrate(pairs, np.empty(0), 0)
    different = different_pairs(clips, known_duplicates)
    vectors = np.array([clip["vector"] for clip in clips], dtype=np.float64)
    first, second = different.false_pairs()
    cosines = _cosines(vectors, (first, second))
    closest = [
        (title(clips[first[i]]), title(clips[second[i]]), round(float(cosines[i]), 6))
        for i in np.argsort(-cosines, kind="stable")[:CLOSEST_SHOWN]
    ]
    moments = _cosines(vectors, different.other_moments)[different.alike]
    overlap = judge_overlap(state, clips, different.other_videos, different.other_moments)
    return calibrate(pairs, cosines, len(clips), tuple(closest), other_moments=moments, overlap=overlap)


def _cosines(vectors: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = np.einsum("ij,ij->i", vectors[pairs[0]], vectors[pairs[1]])
    return cosines


def different_pairs(clips: Sequence[Mapping[str, Any]], known_duplicates: Sequence[Sequence[str]]) -> DifferentPairs:
    """The pairs of clips that show different things, as far as pictures, spans and the user can tell."""
    signatures = np.array([clip["signature"] for clip in clips], dtype=np.float64)
    spans = np.array([clip["span_s"] for clip in clips], dtype=np.float64)
    sources = np.array([clip["source"] for clip in clips])
    first, second = np.triu_indices(len(clips), 1)
    unknown = [not _are_known(known_duplicates, sources[i], sources[j]) for i, j in zip(first, second, strict=True)]
    first, second = first[unknown], second[unknown]
    alike = np.abs(signatures[first] - signatures[second]).mean(axis=1) <= SAME_PICTURE
    same = sources[first] == sources[second]
    apart = np.maximum(spans[first, 0], spans[second, 0]) >= np.minimum(spans[first, 1], spans[second, 1])
    videos, moments = ~same & ~alike, same & apart
    return DifferentPairs((first[videos], second[videos]), (first[moments], second[moments]), alike[moments])


def _are_known(groups: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether a group names both videos."""
    return any(one in group and other in group for group in groups)
