"""List the clusters to decide on: where the tables and the vectors of each lie, and in which version."""

from __future__ import annotations

from curator_dask.data.clusters import clusters_and_tables
from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.folder import Folder, file_versions
from curator_dask.runtime.records import digest


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
        )
        for number, table in table_of.items()
    ]
