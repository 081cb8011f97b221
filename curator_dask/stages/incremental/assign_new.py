"""New vectors → the clusters of a finished run, in the form that the k-means stage writes them.

Rows whose ids the run knows are passed over, so that the input may be a folder that has grown since. A file with such
rows is copied without them, unchanged otherwise; then come the two passes of the k-means stage, with given centroids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.tables import opened_parquet, read_table, write_parquet
from curator_dask.data.vector_source import Chunk, Piece, VectorSource, one_type, plan_chunks, read_rows
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder, file_versions
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, gathered, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.kmeans.write_clusters import (
    REJECTS,
    AssignTask,
    BucketTask,
    assign_chunk,
    bucket_folder,
    count_buckets,
    write_bucket,
    write_rejects,
)

if TYPE_CHECKING:
    import pyarrow as pa

SIFT_UNIT = "sift"


@dataclass(frozen=True)
class SiftTask:
    source: VectorSource
    chunk: Chunk
    output: Folder
    """Where files without known rows go."""
    number: int


@dataclass(frozen=True)
class Sifted:
    """What a worker found in a chunk."""

    chunk: Chunk
    """The new rows: of the input, or of files in the task's output."""
    copied: bool
    ids: pa.Array
    num_known: int
    rejects: tuple[dict[str, Any], ...]


def assign_new(context: RunContext, stage: KMeansStage, centroids: bytes, known: pa.Array) -> dict[str, int]:
    """Write the new rows of the stage's input into clusters below its output; returns counts.

    Args:
        stage: names the input, the output and the columns; nothing is fitted.
        centroids: the file of the centroids, (k, D).
        known: ids to pass over.

    Raises:
        InputError: two new rows share an id, or no row is usable.
    """
    state = StageState(stage.output, "assign")
    entries = stage.entries()
    inputs = digest(file_versions(entries), _ids_digest(known), _digest(centroids))
    state.claim({"input_path": stage.input.root, "metadata_fields": list(stage.metadata_fields or ())}, overwrite=True)
    record = _done(state, inputs)
    if record is None:
        state.forget([one.key for one in state.records()])
        record = _assign(context, state, stage, centroids, known, inputs)
    return dict(record.counts)


def _done(state: StageState, inputs: str) -> UnitRecord | None:
    done = state.done_units()
    record = state.record(SIFT_UNIT) if done.get(SIFT_UNIT) == inputs else None
    if record is None or any(done.get(key) != inputs for key in record.data["buckets"]):
        return None
    return record


def _assign(
    context: RunContext, state: StageState, stage: KMeansStage, centroids: bytes, known: pa.Array, inputs: str
) -> UnitRecord:
    from curator_dask.stages.incremental.finished_runs import read_centroids

    k, dimension = read_centroids(centroids).shape
    scratch = stage.output.below(state.path("new"))
    try:
        sifted = _sift(context, stage, dimension, known, scratch)
        rejects = [reject for part in sifted for reject in part.rejects]
        num_rows = sum(len(part.ids) for part in sifted)
        outputs = {layout.CENTROIDS: stage.output.write_bytes(layout.CENTROIDS, centroids)}
        if rejects:
            outputs[REJECTS] = write_rejects(stage.output, rejects)
        n_buckets = count_buckets(num_rows, dimension, k) if num_rows else 0
        units = [
            Unit(f"bucket-{number:05d}", inputs, BucketTask(stage, state, number), f"clusters of bucket {number}")
            for number in range(n_buckets)
        ]
        _write_clusters(context, state, _assign_tasks(context, state, stage, sifted, dimension, n_buckets), units)
    finally:
        for folder in (bucket_folder(state), state.path("new")):
            for entry in stage.output.entries(folder, hidden=True):
                stage.output.remove(entry.path)
    num_known = sum(part.num_known for part in sifted)
    counts = {
        "rows_in": num_rows + num_known + len(rejects),
        "rows_known": num_known,
        "rows_rejected": len(rejects),
        "rows": num_rows,
    }
    record = UnitRecord(SIFT_UNIT, inputs, outputs, counts, data={"buckets": [unit.key for unit in units]})
    state.write(record)
    return record


def _assign_tasks(
    context: RunContext,
    state: StageState,
    stage: KMeansStage,
    sifted: Sequence[Sifted],
    dimension: int,
    n_buckets: int,
) -> list[AssignTask]:
    # The stage as it reads what was copied.
    scratch = stage.output.below(state.path("new"))
    copies = replace(stage, input_path=scratch.url, input_filetype="parquet", read_kwargs=stage.write_kwargs)
    device = context.cluster.device
    return [
        AssignTask(copies if part.copied else stage, state, number, part.chunk, dimension, n_buckets, device)
        for number, part in enumerate(sifted)
        if len(part.ids)
    ]


def _write_clusters(
    context: RunContext, state: StageState, tasks: Sequence[AssignTask], units: Sequence[Unit[BucketTask]]
) -> None:
    client = context.cluster.client
    gathered(client, client.map(assign_chunk, tasks, pure=False))
    outcome = run_units(
        context.cluster, state, units, write_bucket, reporter=context.reporter, what="buckets of new rows"
    )
    if outcome.failures:
        raise InputError(f"{len(outcome.failures)} buckets of new rows failed: {outcome.failures[0].message}")


def _sift(context: RunContext, stage: KMeansStage, dimension: int, known: pa.Array, scratch: Folder) -> list[Sifted]:
    client = context.cluster.client
    source = stage.source(dimension)
    chunks = plan_chunks(source, stage.entries())
    tasks = [SiftTask(source, chunk, scratch, number) for number, chunk in enumerate(chunks)]
    held = client.scatter(known, broadcast=True, hash=False)
    sifted: list[Sifted] = gathered(client, client.map(sift_chunk, tasks, known=held, pure=False))
    _refuse_doubled_ids([part.ids for part in sifted])
    rejected = sum(len(part.rejects) for part in sifted)
    if rejected and not any(len(part.ids) or part.num_known for part in sifted):
        reasons = sorted({reject["reason"] for part in sifted for reject in part.rejects})
        raise InputError(
            f"no usable vectors: all {rejected} rows were rejected ({', '.join(reasons)}); "
            f"the finished run has vectors of {dimension} numbers"
        )
    return sifted


def sift_chunk(task: SiftTask, known: pa.Array) -> Sifted:
    """On a worker: the rows of a chunk that are not known; where there are known ones, copies of its files without them."""
    rows = read_rows(task.source, task.chunk)
    is_known = _is_known(rows.ids, known)
    ids = rows.ids.filter(_not(is_known))
    num_known = len(rows.ids) - len(ids)
    if not num_known:
        return Sifted(task.chunk, False, ids, 0, rows.rejects)
    pieces = tuple(_copied(task, number, piece, known) for number, piece in enumerate(task.chunk))
    return Sifted(pieces, True, ids, num_known, rows.rejects)


def _copied(task: SiftTask, number: int, piece: Piece, known: pa.Array) -> Piece:
    source = task.source
    table = _raw(source, piece)
    path = f"{task.number:06d}-{number:06d}.parquet"
    new = table.filter(_not(_is_known(table[source.id_field].combine_chunks(), known)))
    write_parquet(task.output, path, new, vectors=[source.embedding_field])
    return Piece(path)


def _raw(source: VectorSource, piece: Piece) -> pa.Table:
    """The rows as they are: normalised twice, a vector could differ in its last bit."""
    if piece.row_groups is None:
        return read_table(source.folder, piece.path, source.filetype, source.columns)
    with opened_parquet(source.folder, piece.path) as file:
        return file.read_row_groups(list(piece.row_groups), columns=source.columns)


def _is_known(ids: pa.Array, known: pa.Array) -> Any:
    import pyarrow.compute as pc

    if not len(ids) or not len(known):
        return pc.is_in(ids, value_set=ids.slice(0, 0))
    own, others = one_type([_plain(ids), _plain(known)])
    return pc.is_in(own, value_set=others.cast(own.type))


def _plain(ids: Any) -> pa.Array:
    import pyarrow as pa

    return ids.dictionary_decode() if isinstance(ids, pa.DictionaryArray) else ids


def _not(mask: Any) -> Any:
    import pyarrow.compute as pc

    return pc.invert(mask)


def _refuse_doubled_ids(parts: Sequence[pa.Array]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.concat_arrays(one_type(list(parts)))
    found = pc.value_counts(ids)
    doubled = found.filter(pc.greater(found.field("counts"), 1)).field("values")
    if len(doubled):
        shown = ", ".join(sorted(str(one.as_py()) for one in doubled)[:5])
        raise InputError(f"{len(doubled)} new ids occur more than once, for example {shown}: ids must be unique")


def _ids_digest(ids: pa.Array) -> str:
    import pyarrow.compute as pc

    from curator_dask.dedup.arrays.priority import sample_priority

    hashes = np.sort(sample_priority(pc.unique(ids).to_numpy(zero_copy_only=False), 0))
    return _digest(hashes.tobytes())


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:32]
