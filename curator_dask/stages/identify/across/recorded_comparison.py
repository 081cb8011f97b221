"""How the cross-cluster stage compared the clusters, from its record beside the tables."""

from __future__ import annotations

from typing import Any

from curator_dask.data.clusters import cluster_folders
from curator_dask.dedup.similarity.pairwise import TILE_ROWS
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec
from curator_dask.stages.cross_cluster.stage import CrossClusterStage, group_clusters
from curator_dask.stages.identify.overlap.find_ranking import recorded_ranking


def were_compared(tables: Folder) -> bool:
    """Whether the cross-cluster stage wrote these tables."""
    return StageState(tables, CrossClusterStage.name).parameter("eps") is not None


def recorded_comparison(
    tables: Folder, kmeans: Folder, clips: Folder | None, output: Folder, fields: tuple[str, str], device: str
) -> CrossClusterSpec:
    """What the cross-cluster stage told its workers, but for the folders: it reads its own tables.

    Args:
        tables: those of the cross-cluster stage. clips: the output of the split stage, where it is known.
        output: where files of border rows are to be written.
        fields: the columns with the ids and with the vectors.
    """
    state = StageState(tables, CrossClusterStage.name)
    recorded: dict[str, Any] = {name: state.parameter(name) for name in ("eps", "budget", "recall", "embedding_dim")}
    strategy, index = recorded_ranking(tables, clips)
    return CrossClusterSpec(
        input=kmeans,
        pairwise=tables,
        output=output,
        id_field=fields[0],
        embedding_field=fields[1],
        strategy=strategy,
        index=index,
        tile_rows=TILE_ROWS,
        groups=group_clusters(kmeans, cluster_folders(kmeans)),
        device=device,
        **recorded,
    )
