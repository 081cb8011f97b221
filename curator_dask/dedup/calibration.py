"""Recommend an eps: compare what an embedding still recognises after known edits with what it must keep apart.

Pairs of a clip and its edited copy must match; pairs of different clips must not. A threshold that matches no
different clips ("zero false pairs") loses some edits. How many it loses measures the embedding.

A vector stands for a whole clip. So copies that begin much later, and other moments before a still camera, are counted, and
do not choose the eps: the rule `overlap` tells them apart, see :mod:`curator_dask.dedup.overlap_calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.overlap_calibration import OverlapCalibration
from curator_dask.errors import InputError

MARGIN = 0.02
"""Distance between the recommended threshold and the nearest false pair: a sample never holds the worst pair."""
_ROUNDING = 1e-6
LATE = "late"
"""The kind of copies that begin much later."""


@dataclass(frozen=True, slots=True)
class EditResult:
    """How the copies of one edit compare with their originals."""

    name: str
    kind: str
    """``light``, ``hard`` or ``late``."""
    num_pairs: int
    lowest: float
    """Cosine of the least similar pair; the values below are cosines too."""
    fifth_percentile: float
    median: float
    recall: float
    """Share of the pairs above every false pair."""
    recall_at_eps: float
    """Share of the pairs that the recommended eps finds."""


@dataclass(frozen=True, slots=True)
class EpsRow:
    """The effect of one eps."""

    eps: float
    light_recall: float
    hard_recall: float
    num_false_pairs: int
    late_recall: float
    num_other_moments: int
    """Pairs of other moments of one video, with alike pictures, that count as duplicates."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The numbers behind a recommendation."""

    edits: tuple[EditResult, ...]
    table: tuple[EpsRow, ...]
    num_clips: int
    num_false_candidates: int
    """Pairs of different clips that were compared."""
    highest_false: float
    """Cosine of the most similar pair of different clips; -1 without any."""
    recommended_eps: float
    closest: tuple[tuple[str, str, float], ...] = ()
    """The most similar pairs of different clips, and their cosines. Look at them: an unknown copy shows up here, and lowers
    the recommended eps."""
    num_other_moments: int = 0
    """Pairs of other moments of one video, with alike pictures, that were compared."""
    overlap: OverlapCalibration | None = None
    """The thresholds of the rule `overlap`; None if no clip has a track that can be told from others."""

    def recall(self, kind: str, *, at_eps: bool = False) -> float:
        """Share of the pairs of a kind of edit that are found: at zero false pairs, or at the recommended eps."""
        chosen = [edit for edit in self.edits if edit.kind == kind]
        total = sum(edit.num_pairs for edit in chosen)
        found = sum((edit.recall_at_eps if at_eps else edit.recall) * edit.num_pairs for edit in chosen)
        return found / total if total else math.nan


def calibrate(
    pairs: Mapping[tuple[str, str], NDArray[np.float64]],
    false_pairs: NDArray[np.float64],
    num_clips: int,
    closest: tuple[tuple[str, str, float], ...] = (),
    *,
    other_moments: NDArray[np.float64] | None = None,
    overlap: OverlapCalibration | None = None,
) -> Calibration:
    """Judge an embedding.

    Args:
        pairs: (name, kind) of each edit → (P,) cosines of the originals with their copies; a copy without a vector
            counts as -1, not found.
        false_pairs: (F,) cosines of pairs of different clips.
        num_clips: originals with a vector.
        closest: the most similar false pairs, for the report.
        other_moments: (M,) cosines of other moments of one video whose pictures are alike.
        overlap: what the tracks of the same clips lead to.

    Raises InputError without any copy to compare.
    """
    if not any(len(cosines) for cosines in pairs.values()):
        raise InputError("no clip has a usable vector, so there is nothing to calibrate on: name other clips")
    highest = float(false_pairs.max()) if len(false_pairs) else -1.0
    moments = np.empty(0) if other_moments is None else other_moments
    eps = recommended_eps(np.concatenate([pairs[edit] for edit in pairs if edit[1] != LATE]), highest)
    edits = tuple(_edit_result(name, kind, cosines, highest, eps) for (name, kind), cosines in pairs.items())
    table = tuple(_table(pairs, false_pairs, moments))
    return Calibration(edits, table, num_clips, len(false_pairs), highest, eps, closest, len(moments), overlap)


def recommended_eps(true_cosines: NDArray[np.float64], highest_false: float) -> float:
    """The smallest eps, in steps of 0.01, that finds as many pairs as any eps without false pairs can find.

    If even 0.01 matches a false pair, the result is 0.01: exact copies only.
    """
    most = max(1, math.floor(100 * (1.0 - highest_false - MARGIN) + _ROUNDING))
    found = true_cosines[true_cosines >= 1.0 - most / 100]
    if not len(found):
        return min(most, 100) / 100
    wanted = math.ceil(100 * (1.0 - float(found.min())) - _ROUNDING)
    return min(max(wanted, 1), most, 100) / 100


def _edit_result(name: str, kind: str, cosines: NDArray[np.float64], highest: float, eps: float) -> EditResult:
    if not len(cosines):
        return EditResult(name, kind, 0, math.nan, math.nan, math.nan, math.nan, math.nan)
    lowest, fifth, median = np.percentile(cosines, [0, 5, 50])
    recall, at_eps = (cosines > highest).mean(), (cosines >= 1.0 - eps).mean()
    return EditResult(
        name, kind, len(cosines), float(lowest), float(fifth), float(median), float(recall), float(at_eps)
    )


def _table(
    pairs: Mapping[tuple[str, str], NDArray[np.float64]],
    false_pairs: NDArray[np.float64],
    other_moments: NDArray[np.float64],
) -> Iterator[EpsRow]:
    """One row for each of the eps that people choose from."""
    light, hard, late = (
        np.concatenate([np.empty(0), *(cosines for (_, other), cosines in pairs.items() if other == kind)])
        for kind in ("light", "hard", LATE)
    )
    for eps in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        num_false, num_moments = (int((cosines >= 1 - eps).sum()) for cosines in (false_pairs, other_moments))
        yield EpsRow(
            eps, _share(light >= 1 - eps), _share(hard >= 1 - eps), num_false, _share(late >= 1 - eps), num_moments
        )


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if len(found) else math.nan
