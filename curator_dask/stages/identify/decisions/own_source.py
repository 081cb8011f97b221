"""Find source videos that lose most of their clips to clips of the same video, and say what to do about it.

That is right for a video that shows the same picture all the time, and wrong for a still camera before which things happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curator_dask.files.names import counted
from curator_dask.stages.identify.decisions.join_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

STRICTER = {"pairwise": "a lower --eps", "greedy": "a lower --eps", "overlap": "a higher --min-cover"}


def warn_of_emptied_sources(decisions: Decisions, sources: pa.ChunkedArray) -> tuple[int, tuple[str, ...]]:
    """How many sources lose over half of their rows to kept rows of the same source, and a warning if there are some.

    Args:
        sources: (N,) the source of each row; null where it is not known.
    """
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(sources).combine_chunks()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    kept_rows = decisions.rows_of(decisions.kept_ids)
    own = decisions.removed & (kept_rows >= 0) & (codes >= 0) & (codes == codes[kept_rows])
    num_rows = np.bincount(codes[codes >= 0], minlength=len(coded.dictionary))
    lost = np.bincount(codes[own], minlength=len(coded.dictionary))
    emptied = np.flatnonzero(2 * lost > num_rows)
    if not len(emptied):
        return 0, ()
    worst = emptied[np.lexsort((emptied, -lost[emptied]))[0]]
    lose, their = ("lose", "their") if len(emptied) != 1 else ("loses", "its")
    remedy = "" if decisions.rule.scope == "same" else "--scope cross, or "
    return len(emptied), (
        f"{counted(len(emptied), 'source videos')} {lose} over half of {their} clips to clips of the same video, for example "
        f"{coded.dictionary[int(worst)].as_py()} ({lost[worst]:,} of {num_rows[worst]:,}). If these show different "
        f"moments, keep them with {remedy}{STRICTER[decisions.rule.name]}",
    )
