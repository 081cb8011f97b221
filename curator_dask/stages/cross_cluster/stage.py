"""Similarity tables within clusters → tables over all clusters: duplicates in different clusters find each other.

Three passes over groups of neighbouring clusters. First, each group writes down its border rows, one record batch per
group that they are compared with. Then each group compares the incoming rows with its clusters. Last, each group writes
its similarity tables anew with the matches. The files between the passes are removed at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import centroids_name, clusters_and_tables
from curator_dask.dedup.cross_cluster.aim import DEFAULT_BUDGET, check_budget, check_recall
from curator_dask.dedup.cross_cluster.centroids import neighbour_order
from curator_dask.dedup.similarity.threshold import check_eps
from curator_dask.errors import ParameterError
from curator_dask.files import layout
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder, file_versions
from curator_dask.files.names import counted
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState, recorded_versions
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.cross_cluster.read_clusters import centroids_of
from curator_dask.stages.cross_cluster.spec import MISSED, Cluster, ClusterGroups, CrossClusterSpec, GroupTask
from curator_dask.stages.cross_cluster.worker import compare_group, find_group_borders, merge_group
from curator_dask.stages.pairwise.parameters import RankedClusters

if TYPE_CHECKING:
    from curator_dask.stages.pairwise.stage import PairwiseStage

GROUP_BYTES = 8 << 20
"""Least size of a group's files, if there is more than one group."""
MOST_GROUPS = 128
"""Every group reads a batch of every other, so there are up to this number squared to read."""
PASSES = ("borders", "compare", "merge")
BETWEEN_VERSION = 2
"""Version of the files between the passes: those that an older one left are made anew."""
COMPARED = "compared"
ROUNDING = 1e-6
"""Shares are counted in thousandths of rows."""
TOLD_SHARE = 0.0005
"""A warning tells if more than this share of near pairs is thought to be missed."""


@with_suggestions
@dataclass(frozen=True)
class CrossClusterStage(RankedClusters, Stage):
    """Find duplicates that k-means put into different clusters: raise the scores of the pairwise stage by them.

    Writes ``cluster_{k}.parquet`` per cluster as the pairwise stage does: the same rows in the same order. A row's score
    rises, and its ``max_id`` becomes a row of another cluster, where a row that ranks before it over all clusters lies
    within eps of it and is more similar than all rows before it in its own cluster. Rows are ranked over all clusters
    by the same key as within a cluster; see `curator_dask.dedup.cross_cluster.scores`.

    Args:
        id_field: The column with the ids.
        embedding_field: The column with the vectors.
        input_path: The output of the k-means stage, with its centroids.
        pairwise_path: The output of the pairwise stage with the same ranking.
        output_path: The folder to write to; not the folder of the pairwise stage.
        eps: Pairs with a cosine of at least 1 − eps are looked for. It should be no smaller than the eps of the decisions.
        budget: Limit of the arithmetic on cross-cluster pairs, as a share of that on pairs within clusters and of two
            iterations of k-means; the rows nearest to a border come first. The default finds 99.9 % of the pairs up
            to an eps of about 0.1; duplicates that are spread evenly up to 0.5 need a budget of several times 1. Vectors of
            fewer than 64 dimensions get up to 8 times as much where a sample of rows says that pairs would be missed.
            Up to the default, less is spent where a sample says that less finds all but 0.001 % of the pairs.
            A warning tells the estimated share, where it is over 0.05%.
        recall: The share of the pairs within eps to find, as a sample estimates it, such as 0.999; it takes the place of
            `budget`, and costs what it needs. None: what the budget finds.
        which_to_keep: The ranking of the pairwise stage: ``"hard"``, ``"easy"`` or ``"random"``.
        sim_metric: The distance that ranked in the pairwise stage: ``"cosine"`` or ``"l2"``.
        pairwise_batch_size: Rows per tile. It changes memory and speed, not the result.
        random_seed: Seed of the ranking ``"random"``.
        ranking_strategy: The ranking strategy of the pairwise stage, if it had one.
        clips_path: The output of the split stage, where the ranking is by columns of its clip index.
        embedding_dim: The expected number of dimensions; other vectors are refused. None: any.
        verbose: Accepted because the pairwise stage has it; it changes nothing.
        read_kwargs: ``{"storage_options": {…}}`` for the inputs.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
    """

    pairwise_path: str = ""
    output_path: str = ""
    _: KW_ONLY
    eps: float = 0.01
    budget: float = DEFAULT_BUDGET
    recall: float | None = None

    name: ClassVar[str] = "cross_cluster"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "pairwise_path", "output_path")
        check_eps(self.eps)
        check_budget(self.budget)
        check_recall(self.recall)
        if Folder(self.output_path).root == Folder(self.pairwise_path).root:
            raise ParameterError(f"output_path ({self.output_path}) must not be pairwise_path: choose another folder")

    @classmethod
    def after(
        cls, pairwise: PairwiseStage, output_path: str, eps: float, recall: float | None = None
    ) -> CrossClusterStage:
        """The stage that goes on from `pairwise`, with its parameters."""
        shared = {one.name for one in fields(cls)} & {one.name for one in fields(pairwise)} - {"output_path"}
        given = {name: getattr(pairwise, name) for name in shared}
        return cls(**given, pairwise_path=pairwise.output_path, output_path=output_path, eps=eps, recall=recall)

    @property
    def pairwise(self) -> Folder:
        return self.folder_to_read(self.pairwise_path)

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "pairwise_path": self.pairwise.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "eps": self.eps,
            "budget": self.budget,
            **({} if self.recall is None else {"recall": self.recall}),
            "ranking": asdict(self.strategy),
            "clips_path": None if self.clips is None else self.clips.root,
            "embedding_dim": self.embedding_dim,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        folders, tables = clusters_and_tables(self.input, self.pairwise)
        if context.dry_run:
            self.check(context)
            spec = self.spec(group_clusters(self.input, folders), "cpu")  # the units are the same on any device
            todo, done = self.count_planned(group_units("merge", spec, self._made_from(folders, tables, spec)))
            return StageResult(self.name, self.output, {"clusters": len(folders)}, num_run=todo, num_skipped=done)
        state.claim(self.identity(), overwrite=context.overwrite)
        spec = self.spec(group_clusters(self.input, folders), context.cluster.device)
        made_from = self._made_from(folders, tables, spec)
        # The groups may have changed, and their files would then belong to other groups.
        known = {unit.key: unit.inputs for name in PASSES for unit in group_units(name, spec, made_from)}
        state.forget([one.key for one in state.records() if one.inputs != known.get(one.key, made_from)])
        merged = self._run(context, state, spec, made_from)
        missed = self._missed_share(state, merged)
        context.reporter.say(
            f"cross_cluster: about {1 - missed:.2%} of the pairs near eps {self.eps:g} are found, by an estimate"
        )
        return self._result(state, merged, folders, missed)

    def spec(self, groups: ClusterGroups, device: str) -> CrossClusterSpec:
        """What workers on `device` are told. Raises InputError if `clips_path` holds no clip index."""
        return CrossClusterSpec(
            input=self.input,
            pairwise=self.pairwise,
            output=self.output,
            id_field=self.id_field,
            embedding_field=self.embedding_field,
            embedding_dim=self.embedding_dim,
            strategy=self.strategy,
            index=None if self.clips is None else ClipIndex.of(self.clips),
            eps=self.eps,
            budget=self.budget,
            recall=self.recall,
            tile_rows=self.pairwise_batch_size,
            groups=groups,
            device=device,
        )

    def _made_from(
        self, folders: Mapping[int, list[Entry]], tables: Mapping[int, Entry], spec: CrossClusterSpec
    ) -> str:
        """Digest of everything that the result depends on, but for the parameters."""
        name = centroids_name(self.input)
        centroids = self.input.entry(name)
        version = recorded_versions(self.input).get(name, centroids.version if centroids else "")
        entries = [*(entry for entries in folders.values() for entry in entries), *tables.values()]
        files = file_versions(entries)
        made_from = digest(version, files, spec.groups.groups)
        return made_from if spec.index is None else digest(made_from, spec.index.version)

    def _run(self, context: RunContext, state: StageState, spec: CrossClusterSpec, made_from: str) -> UnitsOutcome:
        merge = group_units("merge", spec, made_from)
        done = state.done_units()
        if any(done.get(unit.key) != made_from for unit in merge):
            counts: dict[str, int] = {}
            for name, work in (("borders", find_group_borders), ("compare", compare_group)):
                units, what = group_units(name, spec, made_from), f"groups ({name})"
                outcome = run_units(context.cluster, state, units, work, reporter=context.reporter, what=what)
                _require_all(outcome)
                counts.update(outcome.counts)
            state.write(UnitRecord(COMPARED, made_from, counts=counts))
        merged = run_units(
            context.cluster, state, merge, merge_group,
            reporter=context.reporter, what="groups (merge)", flush_together=True,
        )  # fmt: skip
        if not merged.failures:
            kept = {COMPARED, *(unit.key for unit in merge)}
            state.forget([record.key for record in state.records() if record.key not in kept])
        return merged

    def _missed_share(self, state: StageState, merged: UnitsOutcome) -> float:
        """The share of near pairs that are missed, as samples of the rows estimate it."""
        compared = state.record(COMPARED)
        missed = compared.counts.get(MISSED, 0) if compared else 0
        return missed / 1000 / max(1, merged.counts.get("rows", 0))

    def _result(
        self, state: StageState, merged: UnitsOutcome, folders: Mapping[int, list[Entry]], missed: float
    ) -> StageResult:
        compared = state.record(COMPARED)
        found = {**(compared.counts if compared else {}), **merged.counts}
        names = ("clusters", "rows", "rows_raised", "borders", "borders_left_out", "pairs_compared", "pairs_measured")
        counts = {name: found.get(name, 0) for name in names}
        state.summarise(counts, failures=merged.failures)
        tables = tuple(layout.pairwise_file(cluster) for cluster in folders)
        return StageResult(
            self.name,
            self.output,
            counts,
            merged.failures,
            merged.num_run,
            merged.num_skipped,
            tables=tables,
            warnings=_warn_of_missed(missed, self.eps, TOLD_SHARE if self.recall is None else 1.0 - self.recall),
        )


def _warn_of_missed(share: float, eps: float, allowed: float) -> tuple[str, ...]:
    if share <= allowed + ROUNDING:
        return ()
    return (
        f"cross-cluster: up to about {share:.1%} of the pairs near an eps of {eps:g} may be missed, if near pairs lie at all "
        "distances evenly. Measure it with --recall-sample 1000 of identify; fewer clusters, a smaller eps or a wanted "
        "share as --recall find more",
    )


def require_cross_cluster(recall: float | None, cross_cluster: bool) -> None:
    """Raise ParameterError for a recall that nothing is to find."""
    check_recall(recall)
    if recall is not None and not cross_cluster:
        raise ParameterError(f"recall ({recall}) is a share of the pairs between clusters: it needs cross_cluster")


def group_clusters(input: Folder, folders: Mapping[int, Sequence[Entry]]) -> ClusterGroups:
    """Groups of neighbouring clusters of about the same size. They depend on the k-means output alone."""
    clusters = [
        Cluster(number, tuple(entry.path for entry in entries), sum(entry.num_bytes for entry in entries))
        for number, entries in folders.items()
    ]
    order = neighbour_order(centroids_of(input, np.array(list(folders))))
    size = max(GROUP_BYTES, sum(cluster.num_bytes for cluster in clusters) / MOST_GROUPS)
    return ClusterGroups.cut(clusters, order, size)


def group_units(name: str, spec: CrossClusterSpec, made_from: str) -> list[Unit[GroupTask]]:
    """One unit per group, of one of the three passes."""
    groups = spec.groups
    inputs = made_from if name == "merge" else digest(made_from, BETWEEN_VERSION)
    return [
        Unit(f"{name}-{number:05d}", inputs, GroupTask(spec, number), groups.title(number))
        for number in range(len(groups))
    ]


def _require_all(outcome: UnitsOutcome) -> None:
    outcome.raise_failures(f"{counted(len(outcome.failures), 'groups')} of clusters could not be compared")


def score_across_clusters(input_path: str, pairwise_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Score the pairs that lie in different clusters; the parameters are those of `CrossClusterStage`."""
    return CrossClusterStage(
        input_path=input_path, pairwise_path=pairwise_path, output_path=output_path, **parameters
    ).run()
