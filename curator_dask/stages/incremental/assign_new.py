"""Assign new vectors to the clusters of a finished run, and write these as the k-means stage does.

Rows whose ids the run knows are passed over, so that the input may be a folder that has grown since. A file with such
rows is copied without them, unchanged otherwise; then the two passes of the k-means stage run, with given centroids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from curator_dask.data.clusters import read_centroids
from curator_dask.data.vector_files import VectorFiles
from curator_dask.data.vector_source import VectorSource, plan_chunks
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder, file_versions
from curator_dask.files.names import counted
from curator_dask.runtime.records import JSON, UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.finished.id_buckets import IdBuckets
from curator_dask.stages.incremental.finished.known_ids import (
    IdExchange,
    digest_known_ids,
    find_known_rows,
    refuse_doubled_ids,
    share_known_ids,
)
from curator_dask.stages.incremental.sift_chunk import new_ids_file, sift_chunk
from curator_dask.stages.incremental.spec import Sifted, SiftTask
from curator_dask.stages.kmeans.parameters import KMeansParameters
from curator_dask.stages.kmeans.spec import AssignTask, WriteClustersSpec
from curator_dask.stages.kmeans.worker import write_rejects
from curator_dask.stages.kmeans.write_clusters import bucket_units, count_buckets, write_clusters

SIFT_UNIT = "sift"


@dataclass(frozen=True)
class NewVectors:
    """The input of `assign_new`, and the folder for its clusters."""

    files: VectorFiles
    source: VectorSource
    """The columns; the dimension is the length of the centroids."""
    state: StageState
    """The state of the assignment, in the folder for the clusters."""

    @property
    def output(self) -> Folder:
        return self.state.folder

    @property
    def scratch(self) -> Folder:
        """Folder for copies of files without the rows that are known."""
        return self.output.below(self.state.path("new"))


def assign_new(
    context: RunContext, files: VectorFiles, source: VectorSource, output: Folder, finished: FinishedRuns
) -> dict[str, int]:
    """Write the new rows of some files into clusters below `output`; returns counts.

    Args:
        context: where to run.
        files: the input.
        source: its columns; the length of the centroids becomes its dimension.
        output: the folder for the clusters.
        finished: the runs whose centroids are used, and whose ids are passed over.

    Raises:
        InputError: two new rows share an id, no row is usable, or the finished runs have no clusters.
    """
    state, centroids = StageState(output, "assign"), finished.centroids()
    state.claim({"input_path": source.folder.root, "metadata_fields": list(source.metadata_fields)}, overwrite=True)
    exchange = IdExchange(context.cluster.client, output.below(state.path("ids")), context.reporter.note)
    n_clusters, dimension = read_centroids(centroids).shape
    try:
        entries = files.entries()
        known = share_known_ids(exchange, finished, sum(entry.num_bytes for entry in entries), dimension)
        inputs = digest(file_versions(entries), digest_known_ids(exchange, known), _digest(centroids))
        record = _read_finished_record(state, inputs)
        if record is None:
            state.forget([one.key for one in state.records()])
            source = replace(source, dimension=dimension).with_partitions(entries)
            new = NewVectors(files, source, state)
            sifted = _sift(exchange, new, known)
            record = _assign(context, new, sifted, centroids, n_clusters, inputs)
    finally:
        state.remove_below(state.path("new"))
        state.remove_below(state.path("ids"))
    return dict(record.counts)


def is_assigned(files: VectorFiles, output: Folder) -> bool:
    """Whether the new rows of these very files lie in clusters below `output`."""
    state = StageState(output, "assign")
    record = state.record(SIFT_UNIT)
    return (
        record is not None
        and record.data.get("files") == digest(file_versions(files.entries()))
        and _read_finished_record(state, record.inputs) is not None
    )


def _read_finished_record(state: StageState, inputs: str) -> UnitRecord | None:
    """The record of an earlier assignment of the same inputs; None if there is none or a bucket is missing."""
    done = state.done_units()
    record = state.record(SIFT_UNIT) if done.get(SIFT_UNIT) == inputs else None
    if record is None or any(done.get(key) != inputs for key in record.data["buckets"]):
        return None
    return record


def _assign(
    context: RunContext, new: NewVectors, sifted: Sequence[Sifted], centroids: bytes, n_clusters: int, inputs: str
) -> UnitRecord:
    state = new.state
    rejects = [reject for part in sifted for reject in part.rejects]
    num_rows = sum(part.num_new for part in sifted)
    outputs = {layout.CENTROIDS: new.output.write_bytes(layout.CENTROIDS, centroids)}
    if rejects:
        outputs[layout.REJECTS] = write_rejects(new.output, rejects)
    spec = _write_spec(context, new, num_rows, n_clusters)
    units = bucket_units(spec, inputs)
    write_clusters(context, state, _assign_tasks(spec, new, sifted), units, "buckets of new rows")
    num_known = sum(part.num_known for part in sifted)
    counts = {
        "rows_in": num_rows + num_known + len(rejects),
        "rows_known": num_known,
        "rows_rejected": len(rejects),
        "rows": num_rows,
    }
    made_from = digest(file_versions(new.files.entries()))
    data: dict[str, JSON] = {"buckets": [unit.key for unit in units], "files": made_from}
    record = UnitRecord(SIFT_UNIT, inputs, outputs, counts, data=data)
    state.write(record)
    return record


def _write_spec(context: RunContext, new: NewVectors, num_rows: int, n_clusters: int) -> WriteClustersSpec:
    return WriteClustersSpec(
        new.source,
        new.output,
        new.state,
        n_buckets=count_buckets(num_rows, new.source.known_dimension, n_clusters) if num_rows else 0,
        max_rows=KMeansParameters.max_samples_per_batch,
        device=context.cluster.device,
    )


def _assign_tasks(spec: WriteClustersSpec, new: NewVectors, sifted: Sequence[Sifted]) -> list[AssignTask]:
    """One task per chunk that has new rows: it reads the input, or the copies that were made of it."""
    copies = replace(spec, source=replace(new.source, folder=new.scratch, filetype="parquet"))
    return [
        AssignTask(copies if part.copied else spec, number, part.chunk)
        for number, part in enumerate(sifted)
        if part.num_new
    ]


def _sift(exchange: IdExchange, new: NewVectors, known: IdBuckets) -> list[Sifted]:
    chunks = plan_chunks(new.source, new.files.entries())
    found = find_known_rows(exchange, new.source, chunks, known)
    tasks = [
        SiftTask(new.source, chunk, new.scratch, number, known.folder, known.num_buckets)
        for number, chunk in enumerate(chunks)
    ]
    sifted: list[Sifted] = exchange.gather(sift_chunk, tasks, found=found)
    refuse_doubled_ids(exchange, replace(known, paths=tuple(new_ids_file(task.number) for task in tasks)))
    rejected = sum(len(part.rejects) for part in sifted)
    if rejected and not any(part.num_new or part.num_known for part in sifted):
        reasons = sorted({reject["reason"] for part in sifted for reject in part.rejects})
        raise InputError(
            f"no usable vectors among {counted(rejected, 'rows')} ({', '.join(reasons)}); "
            f"the finished run has vectors of {new.source.dimension} numbers"
        )
    return sifted


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:32]
