"""Find the ranking that the similarity tables were made with, which the rule ``overlap`` keeps to."""

from __future__ import annotations

from typing import Any

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState

STAGES = ("cross_cluster", "pairwise")
"""The stages that write similarity tables, the later one first."""


def recorded_ranking(tables: Folder, clips: Folder | None) -> tuple[RankingStrategy, ClipIndex | None]:
    """The recorded ranking of a folder of similarity tables, and the clip index that it takes columns from, if any.

    Tables without a record (the original workflow's) are ranked by the default of the pairwise stage.

    Args:
        clips: the output of the split stage, where it is known; else the recorded path is used.
    """
    for stage in STAGES:
        state = StageState(tables, stage)
        ranking: Any = state.parameter("ranking")
        if isinstance(ranking, dict):
            return RankingStrategy(**ranking), _clip_index(tables, clips, state.recorded_path("clips_path"))
    return RankingStrategy.of("hard"), None


def _clip_index(tables: Folder, clips: Folder | None, recorded: str | None) -> ClipIndex | None:
    if recorded is None:
        return None
    if clips is None and not tables.is_local:
        raise InputError(f"{tables.url} was ranked by columns of a clip index: give clips_path (the output of split)")
    return ClipIndex.of(clips or Folder(recorded))
