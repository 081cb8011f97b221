"""Clusters → similarity tables: for every row, the most similar row ranked before it. One unit a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from curator_dask import layout
from curator_dask.backend import to_device
from curator_dask.dedup.pairwise import max_earlier_similarity
from curator_dask.dedup.ranking import RankingStrategy
from curator_dask.errors import ParameterError
from curator_dask.execution import Unit, run_units
from curator_dask.pipeline import RunContext, Stage, StageResult
from curator_dask.records import UnitRecord, digest
from curator_dask.stages.clusters import cluster_folders, column_values, id_values, read_cluster, unit_rows
from curator_dask.stages.kwargs import storage_options
from curator_dask.state import StageState
from curator_dask.storage import Entry, Folder
from curator_dask.tables import write_parquet


@dataclass(frozen=True)
class PairwiseStage(Stage):
    """Within-cluster similarity; the parameters are those of the original workflow.

    Writes ``cluster_{k}.parquet``: the id, ``max_id`` and ``cosine_sim_score`` (float32) of all rows in ranked order.
    """

    id_field: str = "id"
    embedding_field: str = "embedding"
    input_path: str = ""
    """The output of the k-means stage."""
    output_path: str = ""
    which_to_keep: str = "hard"
    """``hard`` keeps what is far from the centroid, ``easy`` what is near, ``random`` by a seeded draw on the ids."""
    sim_metric: str = "cosine"
    """Which distance to the centroid ranks: ``cosine`` or ``l2``. Similarity is cosine in both cases."""
    pairwise_batch_size: int = 1024
    """Rows a tile; changes memory and speed, not the result."""
    random_seed: int = 42
    ranking_strategy: RankingStrategy | None = None
    """Rank by any columns that k-means carried along, instead of `which_to_keep`."""
    embedding_dim: int | None = None
    verbose: bool = False
    read_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    write_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)

    name: ClassVar[str] = "pairwise"

    def __post_init__(self) -> None:
        for name in ("input_path", "output_path"):
            if not getattr(self, name):
                raise ParameterError(f"{name} is missing: give a folder or a URL")
        RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)  # refuses what it does not know
        if self.pairwise_batch_size < 1:
            raise ParameterError(f"pairwise_batch_size ({self.pairwise_batch_size}) must be >= 1")

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, storage_options(self.read_kwargs))

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, storage_options(self.write_kwargs))

    @property
    def strategy(self) -> RankingStrategy:
        """The ranking that these parameters mean."""
        return self.ranking_strategy or RankingStrategy.of(self.which_to_keep, self.sim_metric, self.random_seed)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "ranking": asdict(self.strategy),
            "embedding_dim": self.embedding_dim,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        clusters = cluster_folders(self.input)
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"clusters": len(clusters)})
        state.claim(self.identity(), overwrite=context.overwrite)
        device = context.cluster.device
        units = [self._unit(cluster, entries, device) for cluster, entries in clusters.items()]
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(context.cluster, state, units, score_cluster, reporter=context.reporter, what="clusters")
        counts = {
            "clusters": outcome.counts.get("clusters", 0),
            "rows": outcome.counts.get("rows", 0),
            "clusters_failed": outcome.counts.get("units_failed", 0),
        }
        state.summarise(counts, failures=outcome.failures)
        tables = tuple(layout.pairwise_file(cluster) for cluster in clusters)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped, tables=tables
        )

    def _unit(self, cluster: int, entries: list[Entry], device: str) -> Unit[PairwiseTask]:
        inputs = digest([(entry.path, entry.num_bytes, entry.version) for entry in entries])
        task = PairwiseTask(self, cluster, tuple(entry.path for entry in entries), device)
        return Unit(f"cluster-{cluster:06d}", inputs, task, f"cluster {cluster}")


@dataclass(frozen=True)
class PairwiseTask:
    stage: PairwiseStage
    cluster: int
    paths: tuple[str, ...]
    device: str


def score_cluster(task: PairwiseTask) -> UnitRecord:
    """On a worker: rank one cluster and write its similarity table."""
    import pyarrow as pa

    stage = task.stage
    strategy = stage.strategy
    table = read_cluster(stage.input, task.paths, [stage.id_field, stage.embedding_field, *strategy.metadata_cols])
    ids = id_values(table, stage.id_field)
    ranked = strategy.rank({name: column_values(table, name) for name in strategy.metadata_cols}, ids)
    X = unit_rows(table, stage.embedding_field, stage.embedding_dim, f"cluster {task.cluster}")[ranked]
    score, best = max_earlier_similarity(to_device(X, task.device), tile_rows=stage.pairwise_batch_size)
    in_order = table[stage.id_field].combine_chunks().take(pa.array(ranked))
    result = pa.table(
        {
            stage.id_field: in_order,
            "max_id": in_order.take(pa.array(best)),
            "cosine_sim_score": pa.array(score),
        }
    )
    path = layout.pairwise_file(task.cluster)
    return UnitRecord("", "", {path: write_parquet(stage.output, path, result)}, {"clusters": 1, "rows": len(ids)})


def score_pairs(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Score the pairs within each cluster; the parameters are those of `PairwiseStage`."""
    return PairwiseStage(input_path=input_path, output_path=output_path, **parameters).run()
