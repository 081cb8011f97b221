"""Read finished runs: their centroids, their ids, their eps and rule, and the rows that they removed."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import centroids_name, cluster_folders
from curator_dask.data.decisions.read_decisions import (
    Part,
    clusters_of_parts,
    decision_batches,
    decision_parts,
    part_entries,
    removed_in_cluster,
)
from curator_dask.data.ids import id_column, id_list, id_texts, one_type
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Entry, Folder
from curator_dask.files.id_lists import read_id_list
from curator_dask.runtime.state import StageState
from curator_dask.runtime.waiting import gather

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
        """The bytes of the centroids' file. Raises InputError if there is none, or the runs have different ones."""
        found = []
        for folder in self.kmeans:
            found.append(folder.read_bytes(centroids_name(folder)))
            if found[-1] != found[0]:
                raise InputError(
                    f"{folder.url} and {self.kmeans[0].url} have different centroids: give runs that agree"
                )
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

    def ids(self, client: Any, say: Callable[[str], None]) -> list[pa.Array]:
        """The ids of all clusters, per run, all in the client. `say` hears of it if there are no workers.

        Raises InputError if there are none.
        """
        files = [[(folder, entry.path) for entry in entries] for folder, entries in self.cluster_files()]
        whole = [file for some in files for file in some]
        read = gather(client, client.map(_read_ids, whole, id_field=self.id_field, pure=False), say)
        parts = one_type(read)
        stops = np.cumsum([0, *map(len, files)]).tolist()
        return [_joined(parts[start:stop], parts[0].type) for start, stop in itertools.pairwise(stops)]

    def kept_ids(self, ids: Sequence[pa.Array]) -> list[pa.ChunkedArray]:
        """The ids, as texts, of the rows that each run kept, without those that filters dropped.

        Raises InputError if a removed id is not among `ids`.

        Args:
            ids: those of all clusters, per run.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        removed = pa.chunked_array(
            [one for folder in self.duplicates for one in _removed_texts(folder)], pa.large_string()
        )
        texts = [id_texts(pa.chunked_array([one])) for one in ids]
        known = pa.chunked_array([chunk for one in texts for chunk in one.chunks], pa.large_string())
        unknown = removed.filter(pc.invert(pc.is_in(removed, value_set=known)))
        if len(unknown):
            raise InputError(
                f"{unknown[0].as_py()} was removed, but is not in the k-means output: do kmeans_path and duplicates_path "
                "belong to the same runs?"
            )
        dropped = pa.array([name for folder in self.duplicates for name in _read_dropped(folder)], pa.large_string())
        gone = pa.chunked_array([*removed.chunks, dropped], pa.large_string())
        return [one.filter(pc.invert(pc.is_in(one, value_set=gone))) for one in texts]

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


def _removed_texts(folder: Folder) -> Iterator[pa.Array]:
    """The ids, as texts, of the rows that a run removed."""
    for batch in decision_batches(folder, ["id", "removed"]):
        yield from batch.filter(batch["removed"])["id"].chunks


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
        decided = "".join(map(folder.content_hash, decision_parts(folder))).encode()
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


def _joined(parts: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(parts) if parts else pa.array([], kind)


def _has_clusters(folder: Folder) -> bool:
    return any(entry.path.startswith("centroid=") for entry in folder.entries())


def _read_ids(file: tuple[Folder, str], id_field: str) -> pa.Array:
    folder, path = file
    return id_column(read_parquet(folder, path, [id_field]), id_field)
