"""Vectors → clusters: a fit over all workers, then every row to its cluster's file.

Rows are first appended to a few bucket files, each of which becomes the files of its clusters: one file a cluster,
never partitions × clusters small ones.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from curator_dask.data.tables import check_filetype, data_files
from curator_dask.data.vector_source import Chunk, VectorSource, find_dimension, plan_chunks
from curator_dask.errors import FolderInUseError, InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Entry, Folder, file_versions
from curator_dask.files.storage_options import StorageKwargs
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, gathered, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.kmeans.fit import Fit, FitParameters, fit
from curator_dask.stages.kmeans.parameters import KMeansParameters, checked_count
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

FIT_UNIT = "fit"


@dataclass(frozen=True)
class KMeansStage(KMeansParameters, StorageKwargs, Stage):
    """Euclidean k-means over L2-normalised rows; the parameters are those of the original workflow.

    Writes ``centroid={k}/part-0.parquet`` with the id, the normalised float32 vector, the metadata fields,
    ``l2_dist_to_cent`` and ``cosine_dist_to_cent``, and ``kmeans_centroids.npy``, (n_clusters, D) float32. Rows that
    cannot be clustered are listed in ``_rejects.parquet`` with their reasons.

    Args:
        n_clusters: number of clusters; None: one cluster per 1000 rows, at most 1000.
        id_field: column of the ids, integers or text; an id may occur once.
        embedding_field: column of the vectors.
        input_path: a folder, a file, or a list of files of one folder.
        output_path: folder for the clusters.
        input_filetype: ``parquet``, ``jsonl`` or ``tmk``.
        embedding_dim: length of the vectors, others are rejected; None: the length of the first vectors.
        metadata_fields: further columns to copy into the clusters.
        verbose: report the inertia of every iteration.
        cache_path: folder for a copy of the centroids.
        read_kwargs: ``{"storage_options": {...}}`` of fsspec for the input.
        write_kwargs: the same for the output and `cache_path`.
        max_iter: the fit stops after this many iterations at the latest.
        tol: the fit stops as soon as an iteration lowers the cost by less than this share of it.
        random_state: seed of the start and of the sample to fit on.
        init: start of the fit: ``k-means||`` (D² sampling on a seeded sample), ``random``, or an array (n_clusters, D).
        n_init: number of fits from different starts; the one with the lowest inertia is kept. An array is run once.
        oversampling_factor: candidates per cluster that each round of ``k-means||`` draws.
        max_samples_per_batch: at most this many rows have their distances to all centroids in memory at a time; it
            changes no result.
        fit_data_fraction: share of the rows to fit on; None: all rows, or as many as 2 GiB of vectors hold.
    """

    id_field: str = "id"
    embedding_field: str = "embedding"
    input_path: str | Sequence[str] = ""
    output_path: str = ""
    input_filetype: str = "parquet"
    embedding_dim: int | None = None
    metadata_fields: Sequence[str] | None = None
    verbose: bool = False
    cache_path: str | None = field(default=None, kw_only=True)

    name: ClassVar[str] = "kmeans"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        if isinstance(self.input_path, os.PathLike):
            object.__setattr__(self, "input_path", os.fspath(self.input_path))
        check_filetype(self.input_filetype)
        for name in ("input_path", "output_path"):
            if not getattr(self, name):
                raise ParameterError(f"{name} is missing: give a folder or a URL")
        super().__post_init__()
        if self.embedding_dim is not None:
            object.__setattr__(self, "embedding_dim", checked_count("embedding_dim", self.embedding_dim))

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    @property
    def input(self) -> Folder:
        """The folder that the input lies in: itself, or that of a file or of the files of a list."""
        if not isinstance(self.input_path, str):
            return self.folder_to_read(_common_folder(self.input_path))
        folder = self.folder_to_read(self.input_path)
        return self.folder_to_read(_common_folder([self.input_path])) if folder.is_file() else folder

    def identity(self) -> dict[str, Any]:
        init = self.init if isinstance(self.init, str) else _array_digest(np.asarray(self.init))
        return {
            "input_path": self.input.root,
            "n_clusters": self.n_clusters,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "input_filetype": self.input_filetype,
            "embedding_dim": self.embedding_dim,
            "metadata_fields": list(self.metadata_fields or ()),
            "max_iter": self.max_iter,
            "tol": self.tol,
            "random_state": self.random_state,
            "init": init,
            "n_init": self.n_init,
            "oversampling_factor": self.oversampling_factor,
            "fit_data_fraction": self.fit_data_fraction,
        }

    def entries(self) -> list[Entry]:
        """The files to read, in path order. Raises InputError if there are none, or one of a list is not there."""
        folder = self.input
        found = data_files(folder, self.input_filetype)
        named = [self.input_path] if isinstance(self.input_path, str) else self.input_path
        if isinstance(self.input_path, str) and Folder(self.input_path, folder.storage_options).root == folder.root:
            return found
        wanted = {path.rpartition("/")[2] for path in named}
        missing = sorted(wanted - {entry.path for entry in found})
        if missing:
            raise InputError(f"input_path: {folder.url} holds no {self.input_filetype} file {missing[0]!r}")
        return [entry for entry in found if entry.path in wanted]

    def source(self, dimension: int | None) -> VectorSource:
        fields = tuple(self.metadata_fields or ())
        return VectorSource(self.input, self.input_filetype, self.id_field, self.embedding_field, fields, dimension)

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        entries = self.entries()
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"files_in": len(entries)})
        _refuse_foreign_clusters(state)
        state.claim(self.identity(), overwrite=context.overwrite)
        inputs = digest(file_versions(entries))
        record = self._fitted(context, state, entries, inputs)
        units = self._bucket_units(state, record)
        num_run = self._write_clusters(context, state, record, units)
        counts = self._counts(state, record)
        state.summarise(counts, {"fit": {name: record.data[name] for name in ("inertia", "n_iter", "converged")}})
        self._copy_centroids()
        tables = tuple(sorted(path for one in state.records() for path in one.outputs if path.startswith("centroid=")))
        return StageResult(
            self.name, self.output, counts, (), num_run=num_run, num_skipped=len(units) - num_run, tables=tables
        )

    def _fitted(self, context: RunContext, state: StageState, entries: list[Entry], inputs: str) -> UnitRecord:
        """The fit's marker: an earlier one of the same inputs, or that of a fit made now."""
        if state.done_units().get(FIT_UNIT) == inputs:
            record = state.record(FIT_UNIT)
            if record is not None:
                return record
        state.forget([record.key for record in state.records()])  # clusters of other inputs must not mix with new ones
        dimension, chunks = self._chunks(entries)
        parameters = FitParameters(
            n_clusters=self.n_clusters,
            init=self.init,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            seed=self.random_state,
            oversampling=self.oversampling_factor,
            max_rows=self.max_samples_per_batch,
            verbose=self.verbose,
            fit_data_fraction=self.fit_data_fraction,
            device=context.cluster.device,
        )
        fitted = fit(context.cluster.client, self.source(dimension), chunks, parameters, context.reporter)
        record = self._record_fit(fitted, dimension, inputs)
        state.write(record)
        return record

    def _chunks(self, entries: list[Entry]) -> tuple[int, list[Chunk]]:
        chunks = plan_chunks(self.source(None), entries)
        dimension = self.embedding_dim or find_dimension(self.source(None), chunks)
        return dimension, chunks

    def _record_fit(self, fitted: Fit, dimension: int, inputs: str) -> UnitRecord:
        buffer = io.BytesIO()
        np.save(buffer, fitted.result.centroids)
        outputs = {layout.CENTROIDS: self.output.write_bytes(layout.CENTROIDS, buffer.getvalue())}
        if fitted.rejects:
            outputs[REJECTS] = write_rejects(self.output, fitted.rejects)
        data = {
            "dimension": dimension,
            "n_clusters": fitted.n_clusters,
            "n_buckets": count_buckets(fitted.num_rows, dimension, fitted.n_clusters),
            "centroids": _array_digest(fitted.result.centroids),
            "inertia": fitted.result.inertia,
            "n_iter": fitted.result.n_iter,
            "converged": fitted.result.converged,
            "rejects": [reject["id"] for reject in fitted.rejects],
        }
        counts = {"rows_in": fitted.num_rows + len(fitted.rejects), "rows_rejected": len(fitted.rejects)}
        return UnitRecord(FIT_UNIT, inputs, outputs, {**counts, "rows_fitted": fitted.num_fit_rows}, data=data)

    def _bucket_units(self, state: StageState, record: UnitRecord) -> list[Unit[BucketTask]]:
        made_from = digest(record.inputs, record.data["centroids"])
        n_buckets = min(record.data["n_buckets"], record.data["n_clusters"])
        return [
            Unit(
                f"bucket-{number:05d}",
                made_from,
                BucketTask(self._lean(), state, number),
                f"clusters of bucket {number}",
            )
            for number in range(n_buckets)
        ]

    def _lean(self) -> KMeansStage:
        """This stage as it travels to workers once the fit is done: without a start array, which may be large."""
        return replace(self, init="k-means||")

    def _write_clusters(
        self, context: RunContext, state: StageState, record: UnitRecord, units: list[Unit[BucketTask]]
    ) -> int:
        done = state.done_units()
        if all(done.get(unit.key) == unit.inputs for unit in units):
            return 0
        dimension, chunks = self._chunks(self.entries())
        lean = self._lean()
        tasks = [AssignTask(lean, state, number, chunk, dimension, len(units), context.cluster.device)
                 for number, chunk in enumerate(chunks)]  # fmt: skip
        client = context.cluster.client
        try:
            gathered(client, client.map(assign_chunk, tasks, pure=False))
            outcome = run_units(
                context.cluster, state, units, write_bucket, reporter=context.reporter, what="buckets of clusters"
            )
            if outcome.failures:  # clusters that are missing would look like clusters without duplicates
                raise InputError(
                    f"{len(outcome.failures)} of {len(units)} buckets of clusters could not be written "
                    f"({outcome.failures[0].message}): run again to write the rest"
                )
        finally:
            for entry in self.output.entries(bucket_folder(state), hidden=True):
                self.output.remove(entry.path)
        return outcome.num_run

    def _counts(self, state: StageState, record: UnitRecord) -> dict[str, int]:
        written = [one for one in state.records() if one.key != FIT_UNIT]
        return {
            "rows_in": record.counts["rows_in"],
            "rows": sum(one.counts.get("rows", 0) for one in written),
            "rows_rejected": record.counts["rows_rejected"],
            "clusters": sum(one.counts.get("clusters", 0) for one in written),
            "n_clusters": record.data["n_clusters"],
        }

    def _copy_centroids(self) -> None:
        if self.cache_path is None:
            return
        folder = self.folder_to_write(self.cache_path)
        data = self.output.read_bytes(layout.CENTROIDS)
        if not folder.exists(layout.CENTROIDS) or folder.read_bytes(layout.CENTROIDS) != data:
            folder.write_bytes(layout.CENTROIDS, data)


def _common_folder(paths: Sequence[str]) -> str:
    parents = {str(path).rpartition("/")[0] for path in paths}
    if len(parents) != 1:
        raise ParameterError(f"input_path: the files of a list must lie in one folder, not in {sorted(parents)}")
    return parents.pop() or "."


def _refuse_foreign_clusters(state: StageState) -> None:
    """Cluster folders that this stage has no record of are another tool's: mixing with them makes every id a duplicate."""
    if state.folder.exists(state.path("params.json")):
        return
    foreign = [entry.path for entry in state.folder.entries() if entry.path.startswith("centroid=")]
    if foreign:
        raise FolderInUseError(
            f"{state.folder.url} holds clusters that were not written by this stage ({foreign[0]} and "
            f"{len(foreign) - 1} more): choose an empty output folder, or remove them yourself"
        )


def _array_digest(array: np.ndarray[Any, Any]) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(repr((array.dtype.str, array.shape)).encode() + array.tobytes()).hexdigest()[:32]


def cluster_embeddings(
    input_path: str, output_path: str, *, n_clusters: int | None = None, **parameters: Any
) -> StageResult:
    """Cluster vectors with k-means; the parameters are those of `KMeansStage`."""
    return KMeansStage(n_clusters, input_path=input_path, output_path=output_path, **parameters).run()
