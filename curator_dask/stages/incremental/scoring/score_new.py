"""Compare the new rows of one cluster with its kept and new rows: scores in the pairwise stage's schema, and decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ranking_columns, stored_columns
from curator_dask.data.clusters import id_values, read_cluster_vectors
from curator_dask.data.ids import id_column, id_list, id_text, one_type
from curator_dask.data.scored_clusters import ClusterInput, Scores, score_table
from curator_dask.data.tables import write_parquet
from curator_dask.dedup.arrays.xp import array_module
from curator_dask.dedup.decide.decisions import Removals, greedy_keep, nearest_kept
from curator_dask.dedup.decide.rules import ClusterDecisions
from curator_dask.dedup.ranking.strategy import DISTANCE_COLUMNS, RankingStrategy
from curator_dask.dedup.similarity.pairwise import finish_scores, tile_block_scores
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decisions.decision_table import decision_table, write_decisions_of_unit
from curator_dask.stages.identify.overlap.ranked_rows import list_ranked_rows
from curator_dask.stages.identify.overlap.spec import RankedRowsTask
from curator_dask.stages.incremental.finished.finished_runs import dropped_ids, removed_ids
from curator_dask.stages.incremental.scoring.spec import ScoreNewTask

if TYPE_CHECKING:
    import pyarrow as pa


def score_new(task: ScoreNewTask) -> UnitResult:
    """On a worker: score the new rows of one cluster, which rank after all old ones, and decide on them.

    By the rule ``overlap`` all clusters are decided on together; the rows are listed with what ranks them.
    """
    import pyarrow as pa

    strategies = [*([_strategy_of_old(task.strategy)] * (len(task.files) - 1)), task.strategy]
    parts = [_read_ranked(task, *files, strategy) for files, strategy in zip(task.files, strategies, strict=True)]
    ids = pa.concat_arrays(one_type([part[0] for part in parts]))
    num_new = len(parts[-1][0])
    num_old = len(ids) - num_new
    X = to_device(np.concatenate([part[1] for part in parts]), task.device)
    score, best = finish_scores(tile_block_scores(X[num_old:], X, num_old, 0, tile_rows=task.tile_rows), num_old)
    best = np.append(np.arange(num_old), best)
    score = np.append(np.zeros(num_old, np.float32), score)
    table = score_table(task.id_field, ids, best, score)
    path = f"{layout.PAIRWISE}/{layout.pairwise_file(task.cluster)}"
    written = write_parquet(task.output, path, table.slice(num_old))
    if task.rule.name == "overlap":
        cluster = _new_cluster(task, path)
        listed = list_ranked_rows(RankedRowsTask(cluster, task.strategy, task.clips, task.output, task.table))
        return replace(listed, outputs={**listed.outputs, path: written})
    names = id_list(ids)
    rows = _kept_and_new_rows(task, names, num_old)
    scores = Scores(ids.take(pa.array(rows)), ids.take(pa.array(best[rows])), score[rows])
    removals = _decide(task, X[array_module(X).asarray(rows)], scores.score, len(rows) - num_new)
    decisions = ClusterDecisions(removals.removed, removals.kept_row, removals.kept_score, np.arange(len(rows)))
    new = decision_table(scores, decisions, rows=slice(len(rows) - num_new, None))
    decided = write_decisions_of_unit(task.output, task.table, new, task.rule)
    return replace(decided, outputs={**decided.outputs, path: written})


def _new_cluster(task: ScoreNewTask, scores: str) -> ClusterInput:
    new, paths = task.files[-1]
    return ClusterInput(task.cluster, task.output, scores, new, paths, task.id_field, task.embedding_field)


def _read_ranked(
    task: ScoreNewTask, folder: Folder, paths: tuple[str, ...], strategy: RankingStrategy
) -> tuple[pa.Array, NDArray[np.float32]]:
    """The rows of one k-means output, in the ranking of `strategy`."""
    import pyarrow as pa

    names = strategy.metadata_cols
    columns = [task.id_field, *stored_columns(names, task.clips)]
    where = f"cluster {task.cluster} of {folder.url}"
    table, X = read_cluster_vectors(folder, paths, columns, task.embedding_field, None, where)
    ids = id_values(table, task.id_field)
    order = strategy.rank(ranking_columns(names, table, ids, task.clips), ids)
    return id_column(table, task.id_field).take(pa.array(order)), X[order]


def _strategy_of_old(strategy: RankingStrategy) -> RankingStrategy:
    """The ranking of the old rows among themselves: it chooses the `max_id` among equally similar old rows.

    A ranking by distances is used for the old rows too. Other columns may be unknown for them: then a distance ranks them.
    """
    return strategy if set(strategy.metadata_cols) <= set(DISTANCE_COLUMNS.values()) else RankingStrategy.of("hard")


def _kept_and_new_rows(task: ScoreNewTask, names: list[Any], num_old: int) -> NDArray[np.int64]:
    """The numbers of the kept old rows, then of all new rows. Raises InputError if a removed id is not in the cluster."""
    removed = removed_ids(task.duplicates, task.versions, task.cluster)
    unknown = removed.difference(names[:num_old])
    if unknown:
        raise InputError(
            f"cluster {task.cluster}: {sorted(map(id_text, unknown))[0]} was removed, but is not in the k-means output: "
            "do kmeans_path and duplicates_path belong to the same runs?"
        )
    dropped = dropped_ids(task.duplicates, task.versions)
    old = [row for row in range(num_old) if names[row] not in removed and id_text(names[row]) not in dropped]
    return np.array([*old, *range(num_old, len(names))], dtype=np.int64)


def _decide(task: ScoreNewTask, X: Any, score: NDArray[np.float32], num_kept: int) -> Removals:
    """Which of the rows after the first `num_kept` are removed, and the kept row nearest to each of them."""
    duplicate = is_duplicate(score, task.rule.eps)
    duplicate[:num_kept] = False
    if task.rule.name == "greedy":
        duplicate = greedy_keep(X, task.rule.eps, candidates=duplicate, tile_rows=task.tile_rows).removed
    return nearest_kept(X, duplicate, tile_rows=task.tile_rows)
