"""What a network says of changes of shots, together with what the pictures say. Arithmetic only.

A network errs where the pictures are plain evidence, and the pictures where a network sees more. So two of its errors are
put right, and nothing else is changed:

* A mark whose picture comes back behind it is a flash, and no cut.
* Where the pictures before and after differ by far more than neighbours do, there is a cut, whatever the network says. It
  misses some beside very short shots, between fast pans, and between slides of one set.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curator_dask.video.shots.content import SHORTEST_SHOT, ContentMeasures, flashes, hard_cuts
from curator_dask.video.shots.shots import Marks

CLEAR = 3.0
"""Score (`cut_scores`) from which a hard cut needs no word of the network; also how abrupt a flash is."""


def refine_marks(probabilities: npt.NDArray[np.float32], threshold: float, measures: ContentMeasures) -> Marks:
    """(N,) bool: the frames that belong to a change of shots, the last frame before each hard cut among them.

    Args:
        probabilities: (N,) of each frame, that it is the last one before a change.
        threshold: of the probability, above which a frame is marked.
        measures: of the same frames.
    """
    marks = probabilities > threshold
    gone = flashes(measures, CLEAR)
    for first, after in _runs(marks):
        # The change lies at one of these frames, if there is one: a mark may be a frame beside it.
        if gone[first : after + 2].all():
            marks[first:after] = False
    for cut in hard_cuts(measures, CLEAR).tolist():
        if not marks[max(cut - SHORTEST_SHOT, 0) : cut + SHORTEST_SHOT - 1].any():
            marks[cut - 1] = True
    return marks


def _runs(marks: Marks) -> list[tuple[int, int]]:
    """The first marked frame of each run, and the frame behind its last one."""
    edges = np.flatnonzero(np.diff(np.r_[False, marks, False].astype(np.int8)))
    return [(int(first), int(after)) for first, after in edges.reshape(-1, 2)]
