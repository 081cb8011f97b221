"""Similarity tables → decisions: which clips stay, which go, and for each that goes the nearest one that stays."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from curator_dask.backend import to_device
from curator_dask.dedup.decisions import nearest_kept
from curator_dask.dedup.threshold import check_eps, is_duplicate
from curator_dask.errors import InputError
from curator_dask.execution import Unit, run_units
from curator_dask.pipeline import RunContext, Stage, StageResult
from curator_dask.records import UnitRecord, digest
from curator_dask.stages.clip_index import read_clip_index
from curator_dask.stages.clusters import cluster_files, cluster_folders, id_values, read_cluster, unit_rows
from curator_dask.stages.kwargs import storage_options
from curator_dask.state import StageState
from curator_dask.storage import Entry, Folder
from curator_dask.tables import parquet_bytes, read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_EPS = 0.01
TABLE = "duplicates.parquet"
CSV = "duplicates.csv"
KEEP = "keep.txt"
REMOVE = "remove.txt"


@dataclass(frozen=True)
class IdentifyDuplicatesStage(Stage):
    """Remove every row whose ``cosine_sim_score`` is at least 1 − eps.

    Writes ``duplicates.parquet`` and ``.csv`` (one row a removed clip), ``keep.txt`` and ``remove.txt`` (ids, sorted).
    """

    input_path: str
    """The output of the pairwise stage."""
    kmeans_path: str
    """The output of the k-means stage, for the vectors."""
    output_path: str
    eps: float = DEFAULT_EPS
    id_field: str = "id"
    embedding_field: str = "embedding"
    clips_path: str | None = None
    """The output of the split stage: adds source and times to the table."""
    read_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    write_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)

    name: ClassVar[str] = "identify"

    def __post_init__(self) -> None:
        check_eps(self.eps)

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, storage_options(self.write_kwargs))

    def folder(self, path: str) -> Folder:
        return Folder(path, storage_options(self.read_kwargs))

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.folder(self.input_path).root,
            "kmeans_path": self.folder(self.kmeans_path).root,
            "clips_path": self.folder(self.clips_path).root if self.clips_path else None,
            "eps": self.eps,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        tables = cluster_files(self.folder(self.input_path))
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"clusters": len(tables)})
        state.claim(self.identity(), overwrite=context.overwrite)
        clusters = cluster_folders(self.folder(self.kmeans_path))
        if clusters.keys() != tables.keys():
            raise InputError(
                f"{self.input_path} has {len(tables)} clusters and {self.kmeans_path} has {len(clusters)}, not the same "
                "ones: run the pairwise stage again on these clusters"
            )
        device = context.cluster.device
        units = [self._unit(number, tables[number], clusters[number], device) for number in tables]
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(context.cluster, state, units, decide_cluster, reporter=context.reporter, what="clusters")
        if outcome.failures:
            raise InputError(f"{len(outcome.failures)} clusters could not be decided: {outcome.failures[0].message}")
        self._write_lists(state)
        counts = {name: outcome.counts.get(name, 0) for name in ("rows", "kept", "removed", "orphans")}
        state.summarise(counts, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped, tables=(TABLE,)
        )

    def _unit(self, cluster: int, table: Entry, vectors: list[Entry], device: str) -> Unit[IdentifyTask]:
        inputs = digest([(entry.path, entry.num_bytes, entry.version) for entry in (table, *vectors)])
        task = IdentifyTask(self, cluster, table.path, tuple(entry.path for entry in vectors), device)
        return Unit(f"cluster-{cluster:06d}", inputs, task, f"cluster {cluster}")

    def _write_lists(self, state: StageState) -> None:
        """The tables and lists over all clusters, from the units' markers; unchanged ones are left alone."""
        removed: list[dict[str, Any]] = []
        kept: list[Any] = []
        for record in state.records():
            removed.extend(record.data["removed"])
            kept.extend(record.data["kept"])
        self._add_sources(removed)
        removed.sort(key=lambda row: (row["cluster"], str(row["id"])))
        table = _table(removed)
        state.publish(TABLE, parquet_bytes(table))
        state.publish(CSV, _csv(table))
        state.publish(KEEP, _lines(kept))
        state.publish(REMOVE, _lines([row["id"] for row in removed]))

    def _add_sources(self, removed: list[dict[str, Any]]) -> None:
        known: dict[str, tuple[str, float, float]] = {}
        if self.clips_path:
            index = read_clip_index(self.folder(self.clips_path)).select(["id", "source_video", "start_s", "end_s"])
            wanted = {row["id"] for row in removed}
            known = {
                identifier: (source, start_s, end_s)
                for identifier, source, start_s, end_s in zip(
                    *(column.to_pylist() for column in index.columns), strict=True
                )
                if identifier in wanted
            }
        for row in removed:
            row["source"], row["start_s"], row["end_s"] = known.get(str(row["id"]), ("", 0.0, 0.0))


@dataclass(frozen=True)
class IdentifyTask:
    stage: IdentifyDuplicatesStage
    cluster: int
    table: str
    vectors: tuple[str, ...]
    device: str


def decide_cluster(task: IdentifyTask) -> UnitRecord:
    """On a worker: which rows of one cluster go, and the nearest kept row of each."""
    stage = task.stage
    scores = read_parquet(stage.folder(stage.input_path), task.table, [stage.id_field, "max_id", "cosine_sim_score"])
    score = scores["cosine_sim_score"].to_numpy()
    ids = scores[stage.id_field].to_pylist()
    removed = is_duplicate(score, stage.eps)
    rows = _removed_rows(task, scores, ids, score, removed) if removed.any() else []
    orphans = sum(row["kept_score"] < 1 - stage.eps for row in rows)
    counts = {"rows": len(ids), "kept": int((~removed).sum()), "removed": int(removed.sum()), "orphans": orphans}
    return UnitRecord(
        "", "", counts=counts, data={"removed": rows, "kept": [ids[row] for row in np.flatnonzero(~removed).tolist()]}
    )


def _removed_rows(
    task: IdentifyTask, scores: pa.Table, ids: Sequence[Any], score: np.ndarray[Any, Any], removed: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    stage = task.stage
    X = to_device(_in_order(task, ids), task.device)
    kept = nearest_kept(X, removed)
    max_ids = scores["max_id"].to_pylist()
    return [
        {
            "id": ids[row],
            "kept_id": ids[int(kept.index[row])],
            "max_id": max_ids[row],
            "cosine_sim_score": float(score[row]),
            "kept_score": float(kept.score[row]),
            "cluster": task.cluster,
            "eps": stage.eps,
            "reason": "near-duplicate",
        }
        for row in np.flatnonzero(removed).tolist()
    ]


def _in_order(task: IdentifyTask, ids: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The cluster's vectors in the order of the similarity table."""
    stage = task.stage
    table = read_cluster(stage.folder(stage.kmeans_path), task.vectors, [stage.id_field, stage.embedding_field])
    place = {identifier: row for row, identifier in enumerate(id_values(table, stage.id_field).tolist())}
    if place.keys() != set(ids):
        raise InputError(
            f"cluster {task.cluster}: {task.table} and the k-means output hold different ids: run the pairwise stage again"
        )
    X = unit_rows(table, stage.embedding_field, None, f"cluster {task.cluster}")
    return X[[place[identifier] for identifier in ids]]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kind = pa.int64() if rows and isinstance(rows[0]["id"], int) else pa.string()
    schema = pa.schema(
        [
            ("id", kind),
            ("kept_id", kind),
            ("max_id", kind),
            ("cosine_sim_score", pa.float32()),
            ("kept_score", pa.float32()),
            ("cluster", pa.int64()),
            ("eps", pa.float64()),
            ("reason", pa.string()),
            ("source", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _csv(table: pa.Table) -> bytes:
    import pyarrow.csv as pc

    sink = io.BytesIO()
    pc.write_csv(table, sink)
    return sink.getvalue()


def _lines(ids: Sequence[Any]) -> bytes:
    return "".join(f"{identifier}\n" for identifier in sorted(map(str, ids))).encode("utf-8", "surrogateescape")


def identify_duplicates(
    input_path: str, kmeans_path: str, output_path: str, *, eps: float = DEFAULT_EPS, **parameters: Any
) -> StageResult:
    """Decide which rows are duplicates at `eps`; the parameters are those of `IdentifyDuplicatesStage`."""
    return IdentifyDuplicatesStage(input_path, kmeans_path, output_path, eps=eps, **parameters).run()
