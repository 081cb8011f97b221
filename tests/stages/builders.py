"""The input and the runs that tests of stages have in common: vectors, a clip index, k-means, pairwise, identify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator_dask import IdentifyDuplicatesStage, KMeansStage, PairwiseStage
from curator_dask.data.clip_index import schema
from curator_dask.files.layout import CLIP_INDEX
from curator_dask.stages.base import RunContext


def write_vectors(
    path: Path, ids: Iterable[Any], vectors: Any, *, row_group_size: int | None = None, **columns: Any
) -> Path:
    """Write a Parquet file with the columns id, embedding and those of ``columns``; returns its folder.

    ``vectors`` is an array (N, D), a list of lists (a vector may be None), or an Arrow array of any type.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = vectors.tolist() if isinstance(vectors, np.ndarray) else vectors
    pq.write_table(pa.table({"id": ids, "embedding": listed, **columns}), path, row_group_size=row_group_size)
    return path.parent


def write_clip_index(folder: Path, clips: Iterable[Mapping[str, Any]]) -> str:
    """Write ``clips.parquet`` as the split stage does; columns that a clip does not give are null. Returns the folder."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(clip) for clip in clips], schema=schema()), folder / CLIP_INDEX)
    return str(folder)


def score_vectors(
    source: Path,
    out: Path,
    context: RunContext,
    n_clusters: int,
    *,
    kmeans: Mapping[str, Any] | None = None,
    pairwise: Mapping[str, Any] | None = None,
) -> Path:
    """Run the stages kmeans and pairwise into ``out/k`` and ``out/p``; returns ``out``."""
    paths = {name: str(out / name) for name in ("k", "p")}
    KMeansStage(n_clusters, input_path=str(source), output_path=paths["k"], **(kmeans or {})).run(context=context)
    PairwiseStage(input_path=paths["k"], output_path=paths["p"], **(pairwise or {})).run(context=context)
    return out


def identify_duplicates(out: Path, context: RunContext, **parameters: Any) -> None:
    """Run the stage identify on ``out/k`` and ``out/p``, into ``out/d``."""
    IdentifyDuplicatesStage(str(out / "p"), str(out / "k"), str(out / "d"), **parameters).run(context=context)
