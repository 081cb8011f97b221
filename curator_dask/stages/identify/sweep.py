"""What several values of eps would keep: one pass over the scores, no decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curator_dask.data.clusters import cluster_files
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.similarity.threshold import count_duplicates
from curator_dask.errors import ParameterError
from curator_dask.files.folder import Folder


@dataclass(frozen=True)
class SweepLine:
    """What the rule ``pairwise`` keeps at one eps."""

    eps: float
    kept: int
    removed: int


def parse_eps_values(text: str) -> list[float]:
    """The values of ``.05,.1,.2``, in order. Raises ParameterError for anything else."""
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError as error:
        raise ParameterError(f"sweep ({text!r}) must be numbers with commas between them, such as .05,.1,.2") from error


def sweep_eps(tables: Folder, eps_values: Sequence[float]) -> list[SweepLine]:
    """What each eps would keep, by the similarity tables of the pairwise or cross-cluster stage.

    Raises ParameterError for an eps that is not from 0 to below 1, and InputError if there are no tables.
    """
    paths = [entry.path for entry in cluster_files(tables).values()]
    column = "cosine_sim_score"
    scores = np.concatenate([read_parquet(tables, path, [column])[column].to_numpy() for path in paths])
    removed = count_duplicates(scores, eps_values)
    return [SweepLine(eps, len(scores) - count, count) for eps, count in zip(eps_values, removed, strict=True)]
