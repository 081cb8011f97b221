"""Cluster vectors: fit k-means over all workers, then write every row to its cluster's file.

Rows are first written to a few bucket files, each of which becomes the files of its clusters: one file per cluster,
never chunks × clusters small files.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from curator_dask.data.clusters import centroids_name
from curator_dask.data.tables import check_filetype, check_number_type
from curator_dask.data.vector_files import VectorFiles, lower_endings
from curator_dask.data.vector_source import Chunk, VectorSource, count_source_rows, find_dimension, plan_chunks
from curator_dask.dedup.kmeans.start import check_centres
from curator_dask.errors import ParameterError
from curator_dask.files import layout
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder, file_versions
from curator_dask.files.storage_options import StorageKwargs
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import BROKEN, StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.kmeans.fit import Fit, fit, fitting_n_clusters
from curator_dask.stages.kmeans.parameters import FIT_ROWS_PER_CLUSTER, KMeansParameters, check_count
from curator_dask.stages.kmeans.sample_cost import cost_in_words, describe_cost, search_in_words
from curator_dask.stages.kmeans.spec import AssignTask, BucketTask, FitSpec, WriteClustersSpec
from curator_dask.stages.kmeans.worker import bucket_folder, write_rejects
from curator_dask.stages.kmeans.write_clusters import (
    bucket_units,
    count_buckets,
    refuse_foreign_results,
    write_clusters,
)

FIT_UNIT = "fit"


@with_suggestions
@dataclass(frozen=True)
class KMeansStage(KMeansParameters, StorageKwargs, Stage):
    """Euclidean k-means over L2-normalised rows; the parameters are those of the original workflow.

    Writes ``centroid={k}/part-0.parquet`` with the id, the normalised float32 vector, the metadata fields,
    ``l2_dist_to_cent`` and ``cosine_dist_to_cent``, and ``_kmeans_centroids.npy``, (n_clusters, D) float32. Rows that
    cannot be clustered are listed in ``_rejects.parquet`` with their reasons.

    Args:
        n_clusters: number of clusters; None: one cluster per 1000 rows, at most 1000.
        id_field: column of the ids, integers or text; an id may occur once.
        embedding_field: column of the vectors.
        input_path: a folder, a file, or a list of files of one folder.
        output_path: folder for the clusters.
        input_filetype: ``parquet``, ``jsonl`` or ``tmk``.
        embedding_dim: length of the vectors, others are rejected; None: the length of the first vectors.
        metadata_fields: further columns to copy into the clusters; also those of folders such as ``year=2024``.
        verbose: report the inertia of every iteration.
        cache_path: folder for a copy of the centroids, ``kmeans_centroids.npy``.
        input_file_extensions: endings of the files to read, such as ``[".pq"]``; None: all that `input_filetype` usually has.
        embedding_output_dtype: accepted for scripts of the original: ``auto``, ``float16`` or ``float32``. It changes
            nothing: vectors are always written as float32, so that decisions are exact.
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
        fit_data_fraction: share of the rows to fit on; None: all rows up to 262,144 of them, else as many as
            `fit_rows_per_cluster` says; at most as many as 2 GiB of vectors hold.
        fit_rows_per_cluster: of more than 262,144 rows, the fit takes a sample, chosen by id: this many rows per cluster,
            and at least 65,536. The first iterations take a fourth of them, the last ones twice as many. It counts only
            where `fit_data_fraction` is None.
        exact_assignment: compare every row with all centroids, however many there are. Otherwise, from 4,096 clusters on
            and on CPUs, a row is compared with those of the nearest groups of centroids, if at least 99 % of the rows get
            their nearest one so; the summary says how many do.
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
    input_file_extensions: Sequence[str] | None = field(default=None, kw_only=True)
    embedding_output_dtype: str = field(default="auto", kw_only=True)

    name: ClassVar[str] = "kmeans"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        if isinstance(self.input_path, os.PathLike):
            object.__setattr__(self, "input_path", os.fspath(self.input_path))
        check_filetype(self.input_filetype)
        check_number_type("embedding_output_dtype", self.embedding_output_dtype)
        for name in ("input_path", "output_path"):
            if not getattr(self, name):
                raise ParameterError(f"{name} is missing: give a folder or a URL")
        super().__post_init__()
        if self.embedding_dim is not None:
            object.__setattr__(self, "embedding_dim", check_count("embedding_dim", self.embedding_dim))

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    @property
    def files(self) -> VectorFiles:
        """The input files."""
        return VectorFiles.of(self.input_path, self.input_filetype, self.folder_to_read, self.input_file_extensions)

    def identity(self) -> dict[str, Any]:
        init = self.init if isinstance(self.init, str) else _array_digest(np.asarray(self.init))
        return {
            "input_path": self.files.folder.root,
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
            **self._chosen_later(),
        }

    def _chosen_later(self) -> dict[str, Any]:
        """Parameters that are newer than outputs: they are part of the identity only where they are given."""
        endings = lower_endings(self.input_file_extensions)
        chosen: dict[str, Any] = {"input_file_extensions": sorted(endings)} if endings else {}
        if self.fit_rows_per_cluster != FIT_ROWS_PER_CLUSTER:
            chosen["fit_rows_per_cluster"] = self.fit_rows_per_cluster
        if self.exact_assignment:
            chosen["exact_assignment"] = True
        return chosen

    def source(self, dimension: int | None, entries: list[Entry]) -> VectorSource:
        fields = tuple(self.metadata_fields or ())
        return VectorSource(
            self.files.folder, self.input_filetype, self.id_field, self.embedding_field, fields, dimension
        ).with_partitions(entries)

    def check(self, context: RunContext) -> None:
        super().check(context)
        refuse_foreign_results(StageState(self.output, self.name), "centroid=")

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        entries = self.files.entries()
        if context.dry_run:
            return self._planned(context, state, entries)
        refuse_foreign_results(state, "centroid=")
        state.claim(self.identity(), overwrite=context.overwrite)
        inputs = digest(file_versions(entries))
        record, kept = self._find_or_fit(context, state, entries, inputs)
        spec = self._write_spec(context.cluster.device, state, record, entries)
        units = bucket_units(spec, digest(record.inputs, record.data["centroids"]))
        num_run = self._write_clusters(context, spec, units, kept)
        counts = self._counts(state, record)
        state.summarise(counts, {"fit": self._describe_fit(context, state, record)})
        self._copy_centroids()
        tables = tuple(sorted(path for one in state.records() for path in one.outputs if path.startswith("centroid=")))
        return StageResult(
            self.name, self.output, counts, (), num_run=num_run, num_skipped=len(units) - num_run, tables=tables
        )

    def _planned(self, context: RunContext, state: StageState, entries: list[Entry]) -> StageResult:
        self.check(context)
        counts = {"files_in": len(entries), "rows_in": count_source_rows(self.source(None, entries), entries)}
        record = self._finished_fit(state, digest(file_versions(entries)))
        if record is None or state.holds_others(self.identity()):
            num_run = self._num_new_buckets(context, entries, counts["rows_in"])
            return StageResult(self.name, self.output, counts, num_run=num_run)
        spec = self._write_spec("cpu", state, record, entries)
        todo, done = self.count_planned(bucket_units(spec, digest(record.inputs, record.data["centroids"])))
        return StageResult(self.name, self.output, counts, num_run=todo, num_skipped=done)

    def _num_new_buckets(self, context: RunContext, entries: list[Entry], num_rows: int) -> int:
        """The number of buckets that a new fit would write, if all rows can be used."""
        dimension, _ = self._chunks(entries)
        num_fit_rows = max(1, int(num_rows * (self.fit_data_fraction or 1)))
        n_clusters = fitting_n_clusters(self._own_parameters(), num_fit_rows, num_fit_rows, context.reporter)
        return count_buckets(num_rows, dimension, n_clusters)

    def _finished_fit(self, state: StageState, inputs: str) -> UnitRecord | None:
        """The record of an earlier fit of the same inputs, if there is one."""
        return state.record(FIT_UNIT) if state.done_units().get(FIT_UNIT) == inputs else None

    def _find_or_fit(
        self, context: RunContext, state: StageState, entries: list[Entry], inputs: str
    ) -> tuple[UnitRecord, Sequence[Any]]:
        """The record of the fit: that of an earlier fit of the same inputs, or of a new fit; and rows that workers keep."""
        finished = self._finished_fit(state, inputs)
        if finished is not None:
            return finished, ()
        before = state.record(FIT_UNIT)
        if before is None or before.inputs != BROKEN + inputs:
            state.forget(
                [record.key for record in state.records()]
            )  # clusters of other inputs must not mix with new ones
        dimension, chunks = self._chunks(entries)
        spec = FitSpec(self.source(dimension, entries), self._own_parameters(), context.cluster.device, self.verbose)
        fitted = fit(context.cluster.client, spec, chunks, context.reporter)
        record = self._record_fit(fitted, dimension, inputs)
        state.write(record)
        return record, fitted.kept

    def _chunks(self, entries: list[Entry]) -> tuple[int, list[Chunk]]:
        source = self.source(None, entries)
        chunks = plan_chunks(source, entries)
        dimension = self.embedding_dim or find_dimension(source, chunks)
        if not isinstance(self.init, str):
            check_centres(self.init, len(self.init), dimension)  # now, and not after all files have been read
        return dimension, chunks

    def _record_fit(self, fitted: Fit, dimension: int, inputs: str) -> UnitRecord:
        buffer = io.BytesIO()
        np.save(buffer, fitted.result.centroids)
        outputs = {layout.CENTROIDS: self.output.write_bytes(layout.CENTROIDS, buffer.getvalue())}
        if fitted.rejects:
            outputs[layout.REJECTS] = write_rejects(self.output, fitted.rejects)
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
        if fitted.search is not None:
            data["search"] = asdict(fitted.search)
        counts = {"rows_in": fitted.num_rows + len(fitted.rejects), "rows_rejected": len(fitted.rejects)}
        return UnitRecord(FIT_UNIT, inputs, outputs, {**counts, "rows_fitted": fitted.num_fit_rows}, data=data)

    def _own_parameters(self) -> KMeansParameters:
        """The part of the parameters that a fit needs."""
        return KMeansParameters(**{one.name: getattr(self, one.name) for one in fields(KMeansParameters)})

    def _write_spec(
        self, device: str, state: StageState, record: UnitRecord, entries: list[Entry]
    ) -> WriteClustersSpec:
        dimension, n_clusters = record.data["dimension"], record.data["n_clusters"]
        return WriteClustersSpec(
            self.source(dimension, entries),
            self.output,
            state,
            n_buckets=min(record.data["n_buckets"], n_clusters),
            max_rows=self.max_samples_per_batch,
            device=device,
            looked_at=record.data.get("search", {}).get("looked_at"),
        )

    def _write_clusters(
        self, context: RunContext, spec: WriteClustersSpec, units: list[Unit[BucketTask]], kept: Sequence[Any]
    ) -> int:
        """Write the clusters unless all are there; returns the number of buckets that were written."""
        done = spec.state.done_units()
        if all(done.get(unit.key) == unit.inputs for unit in units):
            spec.state.remove_below(bucket_folder(spec.state))  # of a run that was killed just before it did so
            return 0
        chunks = plan_chunks(spec.source, self.files.entries())
        tasks = [AssignTask(spec, number, chunk) for number, chunk in enumerate(chunks)]
        return write_clusters(context, spec.state, tasks, units, "buckets of clusters", kept).num_run

    def _counts(self, state: StageState, record: UnitRecord) -> dict[str, int]:
        written = [one for one in state.records() if one.key != FIT_UNIT]
        return {
            "rows_in": record.counts["rows_in"],
            "rows": sum(one.counts.get("rows", 0) for one in written),
            "rows_rejected": record.counts["rows_rejected"],
            "clusters": sum(one.counts.get("clusters", 0) for one in written),
            "n_clusters": record.data["n_clusters"],
        }

    def _describe_fit(self, context: RunContext, state: StageState, record: UnitRecord) -> dict[str, Any]:
        """What the summary says of the fit. Of a fit on a sample it also says what the rows that it left out cost."""
        described = {name: record.data[name] for name in ("inertia", "n_iter", "converged")}
        buckets = [one for one in state.records() if one.key != FIT_UNIT]
        cost = describe_cost(record, buckets)
        if cost:
            context.reporter.note(cost_in_words(cost))
        search = record.data.get("search")
        if search:
            context.reporter.note(search_in_words(search))
        return {**described, **cost, **({"search": search} if search else {})}

    def _copy_centroids(self) -> None:
        if self.cache_path is None:
            return
        folder = self.folder_to_write(self.cache_path)
        data, name = self.output.read_bytes(centroids_name(self.output)), layout.PUBLIC_CENTROIDS
        if not folder.exists(name) or folder.read_bytes(name) != data:
            folder.write_bytes(name, data)


def _array_digest(array: np.ndarray[Any, Any]) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(repr((array.dtype.str, array.shape)).encode() + array.tobytes()).hexdigest()[:32]


def cluster_embeddings(
    input_path: str, output_path: str, *, n_clusters: int | None = None, **parameters: Any
) -> StageResult:
    """Cluster vectors with k-means; the parameters are those of `KMeansStage`."""
    return KMeansStage(n_clusters, input_path=input_path, output_path=output_path, **parameters).run()
