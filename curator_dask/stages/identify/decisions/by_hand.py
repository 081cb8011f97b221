"""Decisions by hand go over those of the rule: each changes the clip that it names, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.report.review.overrides import KEEP, Override
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

MOST_NAMED: Final = 10


class ByHand(NamedTuple):
    """What decisions by hand changed."""

    counts: dict[str, int]
    warnings: tuple[str, ...]


def ids_by_hand(overrides: Mapping[str, Override]) -> pa.ChunkedArray:
    """The ids that a person decided on, as texts, sorted."""
    import pyarrow as pa

    return pa.chunked_array([sorted(overrides)], pa.large_string())


def ids_to_keep(overrides: Mapping[str, Override]) -> NDArray[np.bool_]:
    """Which of the ids of `ids_by_hand` a person keeps; the others are removed."""
    return np.array([overrides[name].decision == KEEP for name in sorted(overrides)], np.bool_)


def decide_by_hand(decisions: Decisions, overrides: Mapping[str, Override], rows: NDArray[np.int64]) -> ByHand:
    """Change the decisions as a person wants them.

    Args:
        rows: of the ids of `ids_by_hand`; -1 for one that is no row.

    A clip that is removed by hand has no kept clip. Clips that the rule removed for it stay removed: what a person sees on
    the page is what comes out. The warnings name ids that are no clips with a vector, and count such clips.
    """
    keep, known = ids_to_keep(overrides), rows >= 0
    kept, removed = rows[known & keep], rows[known & ~keep]
    kept, removed = kept[decisions.removed[kept]], removed[~decisions.removed[removed]]
    _apply(decisions, kept, removed)
    return tell(overrides, known, len(kept), len(removed), _count_lost(decisions))


def tell(
    overrides: Mapping[str, Override], known: NDArray[np.bool_], num_kept: int, num_removed: int, num_lost: int
) -> ByHand:
    """What decisions by hand changed.

    Args:
        known: of the ids of `ids_by_hand`, which ones are rows.
        num_kept, num_removed: how many rows were kept or removed against the rule.
        num_lost: how many rows stay removed for a row that was removed by hand.
    """
    counts = {"kept_by_hand": num_kept, "removed_by_hand": num_removed, "unknown_by_hand": int((~known).sum())}
    unknown = [name for name, is_known in zip(sorted(overrides), known.tolist(), strict=True) if not is_known]
    return ByHand(counts, (*_warn_of_unknown(unknown), *_warn_of_lost(num_lost)))


def _apply(decisions: Decisions, kept: NDArray[np.int64], removed: NDArray[np.int64]) -> None:
    decisions.removed, decisions.kept_score = decisions.removed.copy(), decisions.kept_score.copy()
    decisions.max_row, decisions.kept_row = decisions.max_row.copy(), decisions.kept_row.copy()
    decisions.removed[kept], decisions.removed[removed] = False, True
    decisions.kept_score[kept] = 0
    decisions.by_hand = np.zeros(len(decisions.removed), np.bool_)
    decisions.by_hand[removed] = True
    for rows in (kept, removed):
        decisions.max_row[rows] = decisions.kept_row[rows] = -1


def _warn_of_unknown(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    some = ", ".join(map(repr, names[:MOST_NAMED])) + (", …" if len(names) > MOST_NAMED else "")
    return (
        f"the overrides name what is no compared clip, so nothing was decided on it: {some}. Such an id may be misspelt, "
        "of a plain, dropped or failed clip, or of a video that is gone",
    )


def _count_lost(decisions: Decisions) -> int:
    """How many rows stay removed although the kept row beside them was removed by hand."""
    if decisions.by_hand is None:
        return 0
    kept_rows = decisions.kept_row[decisions.removed]
    kept_rows = kept_rows[(kept_rows >= 0) & (kept_rows < len(decisions.removed))]
    return int(decisions.by_hand[kept_rows].sum())


def _warn_of_lost(lost: int) -> tuple[str, ...]:
    """A warning where clips stay removed although the kept clip beside them was removed by hand."""
    if not lost:
        return ()
    return (
        f"{lost:,} {'clip stays' if lost == 1 else 'clips stay'} removed although the kept clip that shows the same was "
        "removed by hand: to keep one, add a line with the decision keep",
    )
