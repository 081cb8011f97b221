"""The result of a calibration as text, for the terminal and for a benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from curator_dask.files.names import counted

if TYPE_CHECKING:
    from curator_dask.dedup.calibration import Calibration


def calibration_report(found: Calibration) -> str:
    """Markdown: a table of the edits, a table of eps values, the closest different clips, and the recommendation."""
    parts = [
        _edit_table(found),
        _eps_table(found),
        _closest_clips(found),
        [f"recommended: --eps {found.recommended_eps:g}"],
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
    for kind in ("light", "hard"):
        at_zero, at_eps = found.recall(kind), found.recall(kind, at_eps=True)
        yield f"| **all {kind}** | {kind} | | | | | **{at_zero:.1%}** | **{at_eps:.1%}** |"


def _eps_table(found: Calibration) -> Iterator[str]:
    yield "| eps | light edits found | hard edits found | different clips matched |"
    yield "|---|---|---|---|"
    for row in found.table:
        yield f"| {row.eps:g} | {row.light_recall:.1%} | {row.hard_recall:.1%} | {row.num_false_pairs} |"


def _closest_clips(found: Calibration) -> Iterator[str]:
    if found.closest:
        yield "closest different clips (if they are copies, name their videos in a --known-duplicates file and run again):"
        yield from (f"* {cosine:.3f} {first} | {second}" for first, second, cosine in found.closest)
