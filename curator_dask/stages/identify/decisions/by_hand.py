"""Decisions by hand go over those of the rule: each changes the clip that it names, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
from curator_dask.report.review.overrides import KEEP, Override
from curator_dask.stages.identify.decisions.join_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

MOST_NAMED: Final = 10


class ByHand(NamedTuple):
    """What decisions by hand changed."""

    counts: dict[str, int]
    warnings: tuple[str, ...]


def decide_by_hand(decisions: Decisions, overrides: Mapping[str, Override]) -> ByHand:
    """Change the decisions as a person wants them.

    A clip that is removed by hand has no kept clip. Clips that the rule removed for it stay removed: what a person sees on
    the page is what comes out. The warnings name ids that are no clips with a vector, and count such clips.
    """
    names = sorted(overrides)
    rows = _rows_of(decisions, names)
    keep = np.array([overrides[name].decision == KEEP for name in names], np.bool_)
    known = rows >= 0
    kept, removed = rows[known & keep], rows[known & ~keep]
    kept, removed = kept[decisions.removed[kept]], removed[~decisions.removed[removed]]
    _apply(decisions, kept, removed)
    counts = {"kept_by_hand": len(kept), "removed_by_hand": len(removed), "unknown_by_hand": int((~known).sum())}
    unknown = [name for name, is_known in zip(names, known.tolist(), strict=True) if not is_known]
    return ByHand(counts, (*_warn_of_unknown(unknown), *_warn_of_lost(decisions)))


def _rows_of(decisions: Decisions, names: list[str]) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = id_texts(decisions.ids)
    found = pc.index_in(pa.array(names, pa.large_string()), value_set=ids)
    rows: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows


def _apply(decisions: Decisions, kept: NDArray[np.int64], removed: NDArray[np.int64]) -> None:
    decisions.removed, decisions.kept_score = decisions.removed.copy(), decisions.kept_score.copy()
    decisions.removed[kept], decisions.removed[removed] = False, True
    decisions.kept_score[kept] = 0
    decisions.by_hand = np.zeros(len(decisions.removed), np.bool_)
    decisions.by_hand[removed] = True
    changed = np.zeros(len(decisions.removed), np.bool_)
    changed[kept] = changed[removed] = True
    decisions.max_ids, decisions.kept_ids = (_blank(ids, changed) for ids in (decisions.max_ids, decisions.kept_ids))


def _blank(ids: pa.ChunkedArray, some: NDArray[np.bool_]) -> pa.ChunkedArray:
    """The ids with nulls in some places."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pa.chunked_array([pa.array(some)]), pa.scalar(None, ids.type), ids)


def _warn_of_unknown(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    some = ", ".join(map(repr, names[:MOST_NAMED])) + (", …" if len(names) > MOST_NAMED else "")
    return (
        f"the overrides name what is no compared clip, so nothing was decided on it: {some}. Such an id may be misspelt, "
        "of a plain, dropped or failed clip, or of a video that is gone",
    )


def _warn_of_lost(decisions: Decisions) -> tuple[str, ...]:
    """A warning where clips stay removed although the kept clip beside them was removed by hand."""
    if decisions.by_hand is None:
        return ()
    kept_rows = decisions.rows_of(decisions.kept_ids)
    lost = int((decisions.removed & (kept_rows >= 0) & decisions.by_hand[kept_rows]).sum())
    if not lost:
        return ()
    return (
        f"{lost:,} {'clip stays' if lost == 1 else 'clips stay'} removed although the kept clip that shows the same was "
        "removed by hand: to keep one, add a line with the decision keep",
    )
