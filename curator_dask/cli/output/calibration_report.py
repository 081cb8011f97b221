"""The result of a calibration as text, for the terminal and for a benchmark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from curator_dask.files.names import counted

if TYPE_CHECKING:
    from curator_dask.dedup.calibration import Calibration
    from curator_dask.dedup.overlap_calibration import OverlapCalibration


def calibration_report(found: Calibration) -> str:
    """Markdown: for vectors and for tracks a table of the edits, one of thresholds, the closest clips, and the
    recommendation."""
    parts = [
        ["## Whole clips by their vectors (--eps)"],
        _edit_table(found),
        _eps_table(found),
        _closest_clips(found.closest),
        [f"recommended: --eps {found.recommended_eps:g}"],
        *(overlap_report(found.overlap) if found.overlap else ()),
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part)


def _edit_table(found: Calibration) -> Iterator[str]:
    eps = found.recommended_eps
    pairs = counted(found.num_false_candidates, "pairs")
    different = f"{pairs} of different clips, the closest at cosine {found.highest_false:.3f}"
    yield f"{counted(found.num_clips, 'clips')}; {different}"
    yield ""
    cosines = "lowest cosine | 5th percentile | median"
    yield f"| edit | kind | pairs | {cosines} | recall at zero false pairs | found at eps {eps:g} |"
    yield "|---|---|---|---|---|---|---|---|"
    for edit in found.edits:
        yield (
            f"| {edit.name} | {edit.kind} | {edit.num_pairs} | {edit.lowest:.3f} | {edit.fifth_percentile:.3f} | "
            f"{edit.median:.3f} | {edit.recall:.1%} | {edit.recall_at_eps:.1%} |"
        )
    for kind in dict.fromkeys(edit.kind for edit in found.edits):
        at_zero, at_eps = found.recall(kind), found.recall(kind, at_eps=True)
        yield f"| **all {kind}** | {kind} | | | | | **{at_zero:.1%}** | **{at_eps:.1%}** |"


def _eps_table(found: Calibration) -> Iterator[str]:
    moments = f"of {counted(found.num_other_moments, 'other moments')} with alike pictures"
    yield f"| eps | light edits found | hard edits found | late copies found | different clips matched | {moments} matched |"
    yield "|---|---|---|---|---|---|"
    for row in found.table:
        shares = " | ".join(map(_percent, (row.light_recall, row.hard_recall, row.late_recall)))
        yield f"| {row.eps:g} | {shares} | {row.num_false_pairs} | {row.num_other_moments} |"


def _percent(share: float) -> str:
    return "none compared" if math.isnan(share) else f"{share:.1%}"


def _closest_clips(closest: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    if closest:
        yield "closest different clips (if they are copies, name their videos in a --known-duplicates file and run again):"
        yield from (f"* {value:.3f} {first} | {second}" for first, second, value in closest)


def overlap_report(found: OverlapCalibration) -> Iterator[Iterable[str]]:
    """The parts about the rule `overlap`."""
    yield ["## Moments by their tracks (the rule overlap)"]
    yield _shift_table(found)
    yield _strictness_table(found)
    yield _closest_clips(found.closest)
    yield _still_pictures(found)
    still = f"--min-still-likeness {found.recommended_still_likeness:g}"
    yield [f"recommended: --strictness {found.recommended_strictness:g} {still}"]


def _shift_table(found: OverlapCalibration) -> Iterator[str]:
    shifts = sorted({one.shift_s for one in found.shifts})
    yield f"copies found at strictness {found.recommended_strictness:g}, by the second of the original that they begin with"
    yield ""
    yield f"| edit | kind |{''.join(f' from {shift:g} s |' for shift in shifts)}"
    yield f"|---|---|{'---|' * len(shifts)}"
    cells = {(one.edit, one.kind, one.shift_s): f"{one.recall:.1%} of {one.num_pairs}" for one in found.shifts}
    for edit, kind in dict.fromkeys((one.edit, one.kind) for one in found.shifts):
        found_at = [cells.get((edit, kind, shift), "") for shift in shifts]
        yield f"| {edit} | {kind} | {' | '.join(found_at)} |"


def _strictness_table(found: OverlapCalibration) -> Iterator[str]:
    videos = f"of {counted(found.num_other_videos, 'pairs')} of other videos"
    moments = f"of {counted(found.num_other_moments, 'pairs')} of other moments of one video"
    yield f"| strictness | light edits found | hard edits found | {videos} matched | {moments} matched |"
    yield "|---|---|---|---|---|"
    for row in found.table:
        shares = f"{_percent(row.light_recall)} | {_percent(row.hard_recall)}"
        yield f"| {row.strictness:g} | {shares} | {row.num_other_videos} | {row.num_other_moments} |"


def _still_pictures(found: OverlapCalibration) -> Iterator[str]:
    if found.num_still_copies:
        others = f"the most alike other picture has {found.highest_still_others:.3f}"
        none = "no other picture is near"
        yield (
            f"still pictures: 95 % of {counted(found.num_still_copies, 'lightly edited copies')} have a likeness of "
            f"{found.lowest_still_copies:.3f} and more; {others if found.highest_still_others > 0 else none}"
        )
