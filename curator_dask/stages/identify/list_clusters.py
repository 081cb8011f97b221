"""List the clusters to decide on: where the tables and the vectors of each lie, and in which version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curator_dask.data.clusters import clusters_and_tables
from curator_dask.data.scored_clusters import ClusterInput, NearListFile, near_list_files
from curator_dask.files import layout
from curator_dask.files.folder import Folder, file_versions
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState


def list_clusters(tables: Folder, kmeans: Folder, id_field: str, embedding_field: str) -> list[ClusterInput]:
    """Every cluster of the two stages' outputs. Raises InputError where they do not hold the same ones."""
    vectors_of, table_of = clusters_and_tables(kmeans, tables)
    return [
        ClusterInput(
            number,
            tables,
            table.path,
            kmeans,
            tuple(entry.path for entry in vectors_of[number]),
            id_field,
            embedding_field,
            version=digest(file_versions([table, *vectors_of[number]])),
            num_bytes=sum(entry.num_bytes for entry in vectors_of[number]),
            files=digest(file_versions(vectors_of[number])),
        )
        for number, table in table_of.items()
    ]


def with_near_lists(clusters: Sequence[ClusterInput], tables: Folder) -> list[ClusterInput]:
    """The clusters with the lists of near pairs that the pairwise stage left, if it wrote the tables or those below them.

    A list that was made from other files than those of the cluster is left out.
    """
    pairwise = _pairwise_output(tables)
    found = {} if pairwise is None else near_list_files(pairwise, layout.PAIRWISE)
    return [_with_list(cluster, found.get(cluster.number)) for cluster in clusters]


def _with_list(cluster: ClusterInput, near: NearListFile | None) -> ClusterInput:
    return replace(cluster, near_list=near if near is not None and near.made_from == cluster.files else None)


def _pairwise_output(tables: Folder) -> Folder | None:
    """The output of the pairwise stage that tables come from: itself, or what the cross-cluster stage read; None: not known."""
    state = StageState(tables, layout.CROSS_CLUSTER)
    if state.held_for() is None:
        return tables
    recorded = state.recorded_path("pairwise_path")
    if recorded is None:
        return None
    protocol = "" if tables.is_local else tables.url.partition("://")[0] + "://"
    return Folder(protocol + recorded, tables.storage_options)
