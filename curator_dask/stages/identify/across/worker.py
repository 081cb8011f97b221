"""The greedy rule within one cluster, given the rows that rows of other clusters remove; it runs on workers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput, near_list_of, read_in_order, read_scores
from curator_dask.dedup.decide.decisions import greedy_keep
from curator_dask.dedup.decide.near_rows import NearRows
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.runtime.device import to_device


def keep_rows(work: tuple[ClusterInput, NDArray[np.bool_] | None], eps: float, device: str) -> NDArray[np.bool_]:
    """(N,) the rows of a cluster that are kept, in ranked order, if some are taken out by kept rows of other clusters."""
    cluster, taken = work
    scores = read_scores(cluster)
    may_go = is_duplicate(scores.score, eps)
    if not may_go.any():
        return ~may_go if taken is None else ~taken
    near = near_list_of(cluster, scores, scores.best(), eps)
    if near is not None:
        return ~NearRows.from_list(near).removed_by_kept(len(may_go), taken)
    X, _ = read_in_order(cluster, scores.ids)
    return ~greedy_keep(to_device(X, device), eps, candidates=may_go, taken=taken).removed
