"""The rows of clustered vectors that are most similar to one vector: in the nearest clusters, or in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import read_centroids
from curator_dask.data.similar.cluster_rows import (
    Row,
    best,
    best_of,
    cluster_files,
    in_threads,
    require_length,
    row_of,
    scored_rows,
    vector_in_file,
)
from curator_dask.data.similar.coded_clusters import CodedClusters, Scored
from curator_dask.dedup.similarity.codes import may_be_among
from curator_dask.files.layout import CENTROIDS, KMEANS, PUBLIC_CENTROIDS, centroid_file

FEWEST_CLUSTERS = 100
"""So many of the nearest clusters are searched at least; an output with no more clusters is searched whole."""
SHARE_OF_CLUSTERS = 0.15
"""The share of all clusters that is searched, the nearest ones. Measured in ``benchmarks/results/similar_2_cores.md``."""
FIRST_CLUSTERS = 8
"""What is found in these says where to look further: clusters near the middle of what is alike."""


def nearest_rows(
    out: str, wanted: NDArray[Any], top: int, *, but: str | None = None, exact: bool = False
) -> list[tuple[str, float]]:
    """The `top` rows with the highest cosine with `wanted`, a unit vector (D,): ids and cosines, highest first, ties by id.

    Args:
        out: the output folder of ``run``; its ``kmeans`` folder holds unit vectors.
        wanted: what to look for.
        top: how many rows.
        but: the id of a row that is passed over.
        exact: search all clusters, and not only the nearest ones. Clusters without codes are searched whole in any case.

    Raises InputError where there are no clustered vectors, or vectors of another length.
    """
    kmeans = Path(out, KMEANS)
    coded = CodedClusters.of(kmeans)
    if coded is None:
        found = [
            row
            for rows in in_threads(lambda name: best_of(name, wanted, top + 1), cluster_files(kmeans))
            for row in rows
        ]
    else:
        found = _found_by_codes(kmeans, coded, wanted, top + 1, exact)
    return [(row.id, row.score) for row in best((row for row in found if row.id != but), top)]


def _found_by_codes(kmeans: Path, coded: CodedClusters, wanted: NDArray[Any], top: int, exact: bool) -> list[Row]:
    """The codes say which rows may be the best, the vectors of these which ones are."""
    require_length(coded.dimension(), wanted)
    scored = _scored(coded, coded.clusters if exact else _near_clusters(kmeans, coded, wanted, top), wanted)
    rows = may_be_among(top, scored.score, scored.step)
    clusters, found = scored.cluster[rows], scored.row[rows]
    parts = in_threads(
        lambda number: scored_rows(kmeans, number, found[clusters == number], wanted), np.unique(clusters).tolist()
    )
    return [row for part in parts for row in part]


def _near_clusters(kmeans: Path, coded: CodedClusters, wanted: NDArray[Any], top: int) -> Sequence[int]:
    """The clusters to search: those nearest to the middle of what the nearest ones hold."""
    C, numbers = _centroids(kmeans), coded.clusters
    count = max(FEWEST_CLUSTERS, round(SHARE_OF_CLUSTERS * len(numbers)))
    if C is None or count >= len(numbers) or numbers[-1] >= len(C):
        return numbers
    first = _by_distance(C, numbers, wanted)[:FIRST_CLUSTERS]
    scored = _scored(coded, first, wanted)
    rows = np.argsort(-scored.score, kind="stable")[:top]
    alike = [coded.vector(scored.cluster[row], scored.row[row]) for row in rows]
    middle = np.sum([wanted, *alike], axis=0)
    return _by_distance(C, numbers, middle / np.linalg.norm(middle))[:count]


def _by_distance(C: NDArray[np.float32], numbers: Sequence[int], wanted: NDArray[Any]) -> list[int]:
    """Clusters, those with the nearest centroids first."""
    C = C[numbers]
    order = np.argsort((C * C).sum(axis=1) / 2 - C @ wanted, kind="stable")
    return [numbers[at] for at in order]


def _scored(coded: CodedClusters, clusters: Sequence[int], wanted: NDArray[Any]) -> Scored:
    parts = in_threads(lambda number: coded.score(number, wanted), clusters)
    return Scored(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def vector_of(out: str, clip_id: str) -> NDArray[Any] | None:
    """The vector (D,) of a row; None where no row has this id. Only ids are read until it is found."""
    kmeans = Path(out, KMEANS)
    coded = CodedClusters.of(kmeans)
    if coded is not None:
        place = coded.find(clip_id)
        return None if place is None else vector_in_file(str(kmeans / centroid_file(place[0])), place[1])
    for name, row in in_threads(lambda name: (name, row_of(name, clip_id)), cluster_files(kmeans)):
        if row >= 0:
            return vector_in_file(name, row)
    return None


def _centroids(kmeans: Path) -> NDArray[np.float32] | None:
    for name in (CENTROIDS, PUBLIC_CENTROIDS):
        if (kmeans / name).is_file():
            return read_centroids((kmeans / name).read_bytes())
    return None
