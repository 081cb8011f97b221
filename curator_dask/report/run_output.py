"""What a report is made from: the tables of one finished output, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CLIP_COLUMNS = ("id", "source", "start_s", "end_s", "width", "height", "num_bytes", "has_file", "state")
KEPT, REMOVED, DROPPED, PLAIN, FAILED = "kept", "removed", "dropped", "plain", "failed"


@dataclass(frozen=True)
class RunOutput:
    """The tables of an output. Ids are texts in all of them."""

    name: str
    record: Mapping[str, Any]
    """``run.json``; empty where there is none."""
    clips: pd.DataFrame
    """One row per clip, with `CLIP_COLUMNS`: those of the clip index, else the rows that were decided on."""
    removed: pd.DataFrame
    """One row per removed clip: ``id``, ``kept_id``, ``kept_ids``, ``max_id``, ``cosine_sim_score``, ``reason``, ``offset_s``,
    ``cover``, ``kind``, and ``group``, which tells the groups of duplicates apart."""
    scores: pd.DataFrame
    """One row per compared clip: ``id``, ``max_id``, ``cosine_sim_score``, ``cluster``."""
    overlaps: pd.DataFrame | None
    """The output of align, if it decided."""
    plain: pd.DataFrame
    """``id``, ``source``, ``reason``."""
    failures: list[dict[str, Any]]
    dropped: pd.DataFrame
    """``id``, ``source``, ``reason``, ``column``, ``value``, ``limit``: the clips that filters dropped."""
    quality: pd.DataFrame
    """``id`` and the quality columns of the clips that have them."""

    @cached_property
    def clip_of(self) -> pd.DataFrame:
        """The clips by their ids."""
        return self.clips.set_index("id")

    def parameter(self, name: str) -> Any:
        """One parameter that decided; None where it is not known."""
        parameters = self.record.get("parameters", {})
        return parameters.get("identify", {}).get(name, parameters.get("align", {}).get("thresholds", {}).get(name))

    @property
    def rule(self) -> str:
        return str(self.parameter("rule") or ("overlap" if self.overlaps is not None else "pairwise"))

    @property
    def eps(self) -> float | None:
        """The eps that decided; None by the rule ``overlap``."""
        given = self.parameter("eps")
        if given is None and self.rule != "overlap" and len(self.removed):
            given = self.removed["eps"].iloc[0]
        return None if given is None or given != given else float(given)

    def with_sources(self, pairs: pd.DataFrame, other: str) -> pd.DataFrame:
        """The pairs, with ``same_source``: whether ``id`` and the clip named by column `other` are of one video."""
        source = self.clip_of["source"]
        one, two = pairs["id"].map(source), pairs[other].map(source)
        return pairs.assign(same_source=(one == two) & one.notna())
