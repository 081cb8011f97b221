"""Clusters → similarity tables: for every row, the most similar row ranked before it. One unit per cluster.

A cluster too large for one worker is cut into parts of about equal work. Each part compares some rows of the ranking
with all rows before them, which it reads from the cluster's files batch by batch; a last unit joins the parts' scores.
The table is the same, byte for byte. A part's scores lie beside its marker until then, so a run that was stopped goes on
with the parts that are not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import cluster_folders
from curator_dask.data.tables import check_number_type
from curator_dask.files import layout
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder, file_versions
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import add_counts, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.pairwise.cut_clusters import PairwisePlan, forget_parts, plan_units, scored_clusters
from curator_dask.stages.pairwise.parameters import RankedClusters
from curator_dask.stages.pairwise.spec import PAIRWISE, ClusterTask, PairwiseSpec
from curator_dask.stages.pairwise.worker import join_parts, score


@with_suggestions
@dataclass(frozen=True)
class PairwiseStage(RankedClusters, Stage):
    """Score every row of a cluster against the rows ranked before it in that cluster.

    Writes ``cluster_{k}.parquet`` per cluster: the id, ``max_id`` (the most similar row ranked before it) and
    ``cosine_sim_score`` (their cosine, float32) of all rows in ranked order.

    Args:
        id_field: The column with the ids.
        embedding_field: The column with the vectors.
        input_path: The output of the k-means stage.
        output_path: The folder to write to.
        which_to_keep: Which rows rank first. ``"hard"``: those far from the centroid; ``"easy"``: those near it;
            ``"random"``: a draw that depends on the ids and `random_seed` only.
        sim_metric: Which distance to the centroid ranks: ``"cosine"`` or ``"l2"``. Similarity is cosine in both cases.
        pairwise_batch_size: Rows per tile. It changes memory and speed, not the result.
        random_seed: Seed of the ranking ``"random"``.
        ranking_strategy: Rank by any columns that k-means carried along, or by columns of the clip index, instead of
            `which_to_keep`.
        clips_path: The output of the split stage. The columns of its clip index, and ``pixels`` and ``duration_s``, can
            rank.
        embedding_dim: The expected number of dimensions; other vectors are refused. None: any.
        verbose: Accepted for compatibility with the original; it changes nothing.
        compute_dtype: Accepted for scripts of the original: ``"auto"``, ``"float16"`` or ``"float32"``. It changes nothing:
            scores are always those of the stored vectors, measured again in float64 where they are close.
        read_kwargs: ``{"storage_options": {…}}`` for the inputs.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
    """

    output_path: str = ""
    compute_dtype: str = field(default="auto", kw_only=True)

    name: ClassVar[str] = PAIRWISE
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "output_path")
        check_number_type("compute_dtype", self.compute_dtype)

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "ranking": asdict(self.strategy),
            "embedding_dim": self.embedding_dim,
            "clips_path": None if self.clips is None else self.clips.root,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        clusters = cluster_folders(self.input)
        if context.dry_run:
            return self._planned(context, clusters)
        state.claim(self.identity(), overwrite=context.overwrite)
        spec = self.spec(context.cluster.device)
        plan = plan_units(state, [cluster_unit(spec, number, entries) for number, entries in clusters.items()])
        state.forget(state.unit_keys() - plan.keys())
        first = run_units(
            context.cluster, state, plan.first, score, reporter=context.reporter, what="clusters", flush_together=True
        )
        return self._result(state, plan, first, _join_large_clusters(context, state, plan))

    def _planned(self, context: RunContext, clusters: Mapping[int, list[Entry]]) -> StageResult:
        self.check(context)
        spec = self.spec("cpu")  # the units are the same on any device
        units = [cluster_unit(spec, number, entries) for number, entries in clusters.items()]
        plan = plan_units(StageState(self.output, self.name), units)
        todo, done = self.count_planned(plan.first)
        return StageResult(
            self.name, self.output, {"clusters": len(clusters)}, num_run=todo + len(plan.large), num_skipped=done
        )

    def spec(self, device: str) -> PairwiseSpec:
        """What workers on `device` are told. Raises InputError if `clips_path` holds no clip index."""
        return PairwiseSpec(
            input=self.input,
            output=self.output,
            id_field=self.id_field,
            embedding_field=self.embedding_field,
            embedding_dim=self.embedding_dim,
            strategy=self.strategy,
            index=None if self.clips is None else ClipIndex.of(self.clips),
            tile_rows=self.pairwise_batch_size,
            device=device,
            scratch=StageState(self.output, self.name).scratch_parts(),
        )

    def _result(self, state: StageState, plan: PairwisePlan, first: UnitsOutcome, second: UnitsOutcome) -> StageResult:
        counts = add_counts([first.counts, second.counts])
        num_clusters = len(plan.clusters)
        done = counts.get("clusters", 0)
        counts = {"clusters": done, "rows": counts.get("rows", 0), "clusters_failed": num_clusters - done}
        failures = first.failures + second.failures
        state.summarise(counts, failures=failures)
        tables = tuple(layout.pairwise_file(unit.task.cluster) for unit in plan.clusters)
        num_run, num_skipped = (first.num_run + second.num_run, first.num_skipped + second.num_skipped)
        return StageResult(self.name, self.output, counts, failures, num_run, num_skipped, tables=tables)


def cluster_unit(spec: PairwiseSpec, cluster: int, entries: list[Entry]) -> Unit[ClusterTask]:
    """The unit that writes the table of a cluster, which lies in these files."""
    version, versions = [spec.index.version] if spec.index is not None else [], file_versions(entries)
    inputs = digest(versions, *version)
    key = f"cluster-{cluster:06d}"
    near_list = StageState(spec.output, PAIRWISE).beside_marker(key)
    paths = tuple(entry.path for entry in entries)
    task = ClusterTask(
        spec=spec,
        cluster=cluster,
        paths=paths,
        near_list=near_list,
        files=digest(versions),
        num_bytes=sum(entry.num_bytes for entry in entries),
    )
    return Unit(key, inputs, task, str(task), reads=(spec.input, paths))


def _join_large_clusters(context: RunContext, state: StageState, plan: PairwisePlan) -> UnitsOutcome:
    """Write the tables of the large clusters whose parts are all done, and remove these parts."""
    scored = scored_clusters(state, plan)
    if not scored:
        return UnitsOutcome({}, (), 0, 0)
    joins = [one.join for one in scored]
    outcome = run_units(context.cluster, state, joins, join_parts, reporter=context.reporter, what="tables")
    forget_parts(state, scored)
    return outcome


def score_pairs(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Score the pairs within each cluster; the parameters are those of `PairwiseStage`."""
    return PairwiseStage(input_path=input_path, output_path=output_path, **parameters).run()
