"""Score clusters, parts of clusters, and join parts: what runs on the workers of the pairwise stage."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ranking_columns, stored_columns
from curator_dask.data.clusters import (
    id_values,
    part_at,
    read_back,
    read_cluster,
    read_cluster_vectors,
    vector_batches,
)
from curator_dask.data.ids import id_column
from curator_dask.data.scored_clusters import LISTED_FROM, write_near_list
from curator_dask.data.tables import read_unit_tables, write_parquet
from curator_dask.dedup.similarity.near_list import NearPairLister
from curator_dask.dedup.similarity.pairwise import PartialScores, finish_scores, max_earlier_similarity, scores_among
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.stages.pairwise.spec import PAIRWISE, ClusterTask, JoinTask, PairwiseSpec, PartTask

if TYPE_CHECKING:
    import pyarrow as pa


def score(task: ClusterTask) -> UnitResult:
    """Write the similarity table of a cluster, or the scores of a part of one."""
    return score_part(task) if isinstance(task, PartTask) else score_cluster(task)


def score_cluster(task: ClusterTask) -> UnitResult:
    """Rank one cluster, score it, and write its table and the list of its near pairs, unless there are none or many."""
    spec = task.spec
    table, X = read_cluster_vectors(
        spec.input, task.paths, _columns(spec), spec.embedding_field, spec.embedding_dim, str(task)
    )
    ranked = _ranking(spec, table)
    X = X[ranked]  # what was read is let go of: its memory, which is still in the cache, serves what comes next
    lister = NearPairLister(len(ranked))
    scores, best = max_earlier_similarity(to_device(X, spec.device), tile_rows=spec.tile_rows, also=lister)
    written = _write_table(task, table, ranked, scores, best)
    near = lister.listed()
    if near is None or not len(near.later):  # nobody asks for the pairs of a cluster without any
        return written
    listed = write_near_list(spec.output, task.near_list, near)
    return replace(written, outputs={**written.outputs, task.near_list: listed}, data={LISTED_FROM: task.files})


def score_part(task: PartTask) -> UnitResult:
    """Compare some rows of a ranking with all rows before them, and write down the best match of each."""
    spec, run = task.spec, task.run
    _, ranked = _read_ranking(task)
    place = np.empty(len(ranked), dtype=np.int64)
    place[ranked] = np.arange(len(ranked))
    batches = vector_batches(spec.input, task.paths, spec.embedding_field, spec.embedding_dim, str(task))
    with spec.output.scratch(*spec.scratch) as scratch, (scratch / "earlier").open("w+b") as file:
        rows, earlier = part_at(batches, place, run, file)
        X, places = to_device(rows, spec.device), np.arange(run.start, run.stop)
        chunks = ((to_device(batch, spec.device), at) for batch, at in read_back(file, earlier, rows.shape[1]))
        best = scores_among(X, places, chain([(X, places)], chunks), tile_rows=spec.tile_rows)
    return UnitResult({task.scores: _write_scores(spec.output, task.scores, best)})


def join_parts(task: JoinTask) -> UnitResult:
    """Write the similarity table of a large cluster from the scores of its parts."""
    table, ranked = _read_ranking(task)
    parts = [_read_scores(task, path) for path in task.parts]
    joined = PartialScores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return _write_table(task, table, ranked, *finish_scores(joined, 0))


def _read_ranking(task: ClusterTask) -> tuple[pa.Table, NDArray[np.int64]]:
    """The ids in the order of the files, and the ranking: (N,) rows, the first in rank first."""
    table = read_cluster(task.spec.input, task.paths, _columns(task.spec))
    return table, _ranking(task.spec, table)


def _columns(spec: PairwiseSpec) -> list[str]:
    """The ids, and what ranks the rows."""
    return list(dict.fromkeys([spec.id_field, *stored_columns(spec.strategy.metadata_cols, spec.index)]))


def _ranking(spec: PairwiseSpec, table: pa.Table) -> NDArray[np.int64]:
    ids = id_values(table, spec.id_field)
    return spec.strategy.rank(ranking_columns(spec.strategy.metadata_cols, table, ids, spec.index), ids)


def _write_table(
    task: ClusterTask, table: pa.Table, ranked: NDArray[np.int64], score: NDArray[np.float32], best: NDArray[np.int64]
) -> UnitResult:
    import pyarrow as pa

    spec = task.spec
    ids = id_column(table, spec.id_field).take(pa.array(ranked))
    columns = {spec.id_field: ids, "max_id": ids.take(pa.array(best)), "cosine_sim_score": pa.array(score)}
    path = layout.pairwise_file(task.cluster)
    num_bytes = write_parquet(spec.output, path, pa.table(columns))
    return UnitResult({path: num_bytes}, {"clusters": 1, "rows": len(ranked)})


def _write_scores(folder: Folder, path: str, scores: PartialScores) -> int:
    """Write a part's scores as an Arrow file, in ranked order; returns its size."""
    import pyarrow as pa

    table = pa.table({"cosine": scores.cosine, "index": scores.index})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder.write_bytes(path, sink.getvalue().to_pybytes())


def _read_scores(task: JoinTask, path: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The cosines and the places of a part's best matches."""
    table = next(read_unit_tables(StageState(task.spec.output, PAIRWISE), [path]))
    return table["cosine"].to_numpy(), table["index"].to_numpy()
