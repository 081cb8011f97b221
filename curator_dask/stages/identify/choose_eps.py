"""Choose the eps that keeps a wanted share of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.similarity.threshold import suggest_eps
from curator_dask.runtime.waiting import gather

TABLES_AT_ONCE = 1000


def choose_eps(client: Any, clusters: Sequence[ClusterInput], target_keep: float, say: Callable[[str], None]) -> float:
    """Apply `suggest_eps` to the scores of all clusters. Memory holds four bytes per row, and as many again to sort.

    `say` hears of it if there are no workers.
    """
    parts: list[NDArray[np.float32]] = []
    for at in range(0, len(clusters), TABLES_AT_ONCE):
        parts += gather(client, client.map(_scores, clusters[at : at + TABLES_AT_ONCE], pure=False), say)
    return suggest_eps(np.concatenate(parts), target_keep)


def _scores(cluster: ClusterInput) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = read_parquet(cluster.tables, cluster.table, ["cosine_sim_score"])[0].to_numpy()
    return scores
