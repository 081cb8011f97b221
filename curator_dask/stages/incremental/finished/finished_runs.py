"""Read finished runs: their centroids, their ids, their eps and rule, and the rows that they removed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import centroids_name, cluster_folders, stored_centroids
from curator_dask.data.decisions.read_decisions import (
    Part,
    clusters_of_parts,
    decision_parts,
    part_entries,
    removed_in_cluster,
)
from curator_dask.data.ids import id_list
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.content_hash import NAMES_CONTENT
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import read_id_list
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FinishedRuns:
    """One run, or a run and its later additions, in that order."""

    kmeans: tuple[Folder, ...]
    """Outputs of the k-means stage; all have the same centroids."""
    duplicates: tuple[Folder, ...]
    """Outputs of the identify stage."""
    id_field: str

    def centroids(self) -> bytes:
        """The bytes of the centroids' file.

        Raises InputError if there is none, it cannot be used, or the runs have different ones.
        """
        found = []
        for folder in self.kmeans:
            found.append(folder.read_bytes(centroids_name(folder)))
            if found[-1] != found[0]:
                raise InputError(
                    f"{folder.url} and {self.kmeans[0].url} have different centroids: give runs that agree"
                )
        stored_centroids(self.kmeans[0])
        return found[0]

    def clusters(self) -> list[dict[int, list[Entry]]]:
        """The files of each cluster, per run; an addition without new rows has no clusters."""
        return [cluster_folders(folder) if _has_clusters(folder) else {} for folder in self.kmeans]

    def cluster_files(self) -> list[tuple[Folder, list[Entry]]]:
        """The files of all clusters, per run. Raises InputError if there are none."""
        files = [
            (folder, [entry for entries in clusters.values() for entry in entries])
            for folder, clusters in zip(self.kmeans, self.clusters(), strict=True)
        ]
        if not any(entries for _, entries in files):
            raise InputError(f"{self.kmeans[0].url} holds no clusters: give the output of a k-means stage")
        return files

    def decision_parameters(self) -> dict[str, Any]:
        """The eps, rule, scope and `also` that the first run decided by; None for those that are not recorded.

        Raises InputError if it has no decisions.
        """
        _require_decisions(self.duplicates[0])
        state = StageState(self.duplicates[0], "identify")
        summary = state.summary() or {}
        return {"eps": summary.get("eps"), **{name: state.parameter(name) for name in ("rule", "scope", "also")}}

    def versions(self) -> tuple[str, ...]:
        """Digest of each table of duplicates, and of the list of dropped clips. Raises InputError if a table is missing."""
        return tuple(_table_digest(folder) for folder in self.duplicates)


def removed_ids(folders: Sequence[Folder], versions: Sequence[str], cluster: int) -> set[Any]:
    """The ids that all runs removed from a cluster. Of parts, those with the cluster are read."""
    found: set[Any] = set()
    for folder, version in zip(folders, versions, strict=True):
        found.update(_removed_from(folder, version, cluster))
    return found


def dropped_ids(folders: Sequence[Folder], versions: Sequence[str]) -> set[str]:
    """The ids, as texts, that filters of all runs dropped from any cluster. On a worker, each list is read once."""
    return {
        name for folder, version in zip(folders, versions, strict=True) for name in _read_dropped_once(folder, version)
    }


@functools.lru_cache(maxsize=8)
def _read_dropped_once(folder: Folder, version: str) -> list[str]:
    return _read_dropped(folder)


def _read_dropped(folder: Folder) -> list[str]:
    return read_id_list(folder.read_bytes(layout.DROP_LIST)) if folder.exists(layout.DROP_LIST) else []


def _removed_from(folder: Folder, version: str, cluster: int) -> list[Any]:
    """The ids, as Python values, that a run removed from a cluster."""
    if entries := part_entries(folder):
        return removed_in_cluster(folder, _parts(folder, tuple(entries)), cluster)
    ids, clusters = _read_removed(folder, version)
    start, end = np.searchsorted(clusters, [cluster, cluster + 1]).tolist()
    return id_list(ids.slice(start, end - start))


@functools.lru_cache(maxsize=8)
def _parts(folder: Folder, entries: tuple[Entry, ...]) -> list[Part]:
    return clusters_of_parts(folder)


@functools.lru_cache(maxsize=8)
def _read_removed(folder: Folder, version: str) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    """The ids and clusters of a table of duplicates of an earlier version, sorted by cluster."""
    table = read_parquet(folder, layout.DUPLICATES_TABLE, ["id", "cluster"]).sort_by("cluster")
    return table["id"], table["cluster"].to_numpy()


def _require_decisions(folder: Folder) -> None:
    if not folder.exists(layout.DUPLICATES_TABLE) and not decision_parts(folder):
        raise InputError(f"{folder.url} holds no {layout.DUPLICATES_TABLE}: give the output of the identify stage")


def _table_digest(folder: Folder) -> str:
    """Of the single table where there is one, so that what was decided beside an earlier version's run is not done again."""
    _require_decisions(folder)
    if folder.exists(layout.DUPLICATES_TABLE):
        decided = folder.read_bytes(layout.DUPLICATES_TABLE)
    else:
        decided = "".join(folder.content_hash(path, NAMES_CONTENT) for path in decision_parts(folder)).encode()
    dropped = folder.read_bytes(layout.DROP_LIST) if folder.exists(layout.DROP_LIST) else b""
    return hashlib.sha256(decided + dropped).hexdigest()[:32]


def recorded_folder(beside: Folder, recorded: object, name: str) -> Folder:
    """A folder that an earlier stage wrote down; where it is gone, the folder of this name next to `beside`.

    Where runs were moved, recorded paths lead nowhere, but the folders of one output still lie next to each other.
    """
    parent = beside.url.rstrip("/").rpartition("/")[0] or "."
    near = Folder(f"{parent}/{name}" if name else parent, beside.storage_options)
    if not recorded:
        return near
    protocol = "" if beside.is_local else beside.url.partition("://")[0] + "://"
    there = Folder(f"{protocol}{recorded}", beside.storage_options)
    return there if there.entries(max_depth=1) or not near.entries(max_depth=1) else near


def _has_clusters(folder: Folder) -> bool:
    return any(entry.path.startswith("centroid=") for entry in folder.entries())
