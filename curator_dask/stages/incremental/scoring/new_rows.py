"""The new rows of all clusters: the units that score and decide on them, and the tables that these write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import cluster_folders
from curator_dask.data.scored_clusters import task_share
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder, file_versions
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.identify.decisions.decision_table import VERSION
from curator_dask.stages.identify.decisions.parts import is_part
from curator_dask.stages.identify.decisions.table_rows import CLUSTER_UNIT, UnitTables, key_of_cluster
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.scoring.spec import ScoreNewTask


@dataclass(frozen=True)
class NewRows:
    """What one run of the stage decides on, and how it is read."""

    state: StageState
    finished: FinishedRuns
    new: Folder
    """The new rows in the old clusters."""
    embedding_field: str
    strategy: RankingStrategy
    clips: ClipIndex | None
    """The clip index, for columns to rank by that the clusters do not have."""
    tile_rows: int
    """Rows that are compared at a time."""

    def units(self, rule: Rule, device: str) -> list[Unit[ScoreNewTask]]:
        """One unit per cluster with new rows."""
        finished, versions = self.finished, self.finished.versions()
        held = [*zip(finished.kmeans, finished.clusters(), strict=True), (self.new, cluster_folders(self.new))]
        units = []
        for cluster in held[-1][1]:
            key = key_of_cluster(CLUSTER_UNIT, cluster)
            files = [(folder, clusters[cluster]) for folder, clusters in held if cluster in clusters]
            task = ScoreNewTask(
                cluster,
                tuple((folder, tuple(entry.path for entry in entries)) for folder, entries in files),
                finished.duplicates,
                versions,
                self.state.folder,
                self.state.beside_marker(key),
                finished.id_field,
                self.embedding_field,
                self.strategy,
                self.clips,
                rule,
                self.tile_rows,
                device,
            )
            inputs = digest(
                VERSION,
                [file_versions(entries) for _, entries in files],
                versions,
                rule.eps,
                rule.name,
                self.clips and self.clips.version,
            )
            share = task_share(sum(entry.num_bytes for _, entries in files for entry in entries))
            units.append(Unit(key, inputs, task, f"cluster {cluster}", share))
        return units

    def tables(self, units: Sequence[Unit[ScoreNewTask]]) -> UnitTables:
        """What these units write."""
        return UnitTables(self.state, CLUSTER_UNIT, tuple(sorted(unit.task.cluster for unit in units)))

    def forget_others(self, units: Sequence[Unit[ScoreNewTask]]) -> None:
        """Remove what an earlier run left of other clusters."""
        others = {record.key for record in self.state.records() if not is_part(record.key)}
        self.state.forget(others - {unit.key for unit in units})
