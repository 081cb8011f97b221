"""What a report is made from: the tables of one finished output, some rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CLIP_COLUMNS = ("id", "source", "start_s", "end_s", "width", "height", "num_bytes", "has_file", "state")
KEPT, REMOVED, DROPPED, PLAIN, FAILED = "kept", "removed", "dropped", "plain", "failed"

Frames = Callable[[], Iterator["pd.DataFrame"]]
"""Gives all rows of a table, some at a time and never none, as often as it is called."""


@dataclass(frozen=True)
class RunOutput:
    """The tables of an output. Ids are texts in all of them."""

    name: str
    record: Mapping[str, Any]
    """``run.json``; empty where there is none."""
    clips: Frames
    """One row per clip, with `CLIP_COLUMNS`: those of the clip index, else the rows that were decided on."""
    removed: Frames
    """One row per removed clip: ``id``, ``kept_id``, ``kept_ids``, ``max_id``, ``cosine_sim_score``, ``kept_score``, ``cluster``,
    ``reason``, ``offset_s``, ``cover``, ``kind``, ``source``, and ``same_source``: whether the kept clip is of the same video."""
    groups: Frames
    """Rows of `removed` with a ``kept_id``, and ``group``, which tells the groups of duplicates apart. All rows of a group
    come at once."""
    scores: Frames
    """One row per compared clip: ``id``, ``max_id``, ``cosine_sim_score``, ``cluster``, and of `clips` ``start_s``, ``end_s``,
    ``num_bytes`` and ``state``."""
    overlaps: Frames | None
    """The output of align, if it decided; ``state``, ``start_of_clip_s`` and ``end_of_clip_s`` of ``id``, ``other_state``."""
    plain: pd.DataFrame
    """``id``, ``source``, ``reason``."""
    failures: list[dict[str, Any]]
    dropped: pd.DataFrame
    """``id``, ``source``, ``reason``, ``column``, ``value``, ``limit``: the clips that filters dropped."""
    quality: Frames
    """``id`` and the quality columns of the clips that have them."""
    eps_of_rows: float | None = None
    """The eps that stands in the decisions; None where there is none."""

    def clips_named(self, ids: Collection[str]) -> pd.DataFrame:
        """The rows of `clips` with these ids, by their ids."""
        return joined([one[one["id"].isin(ids)] for one in self.clips()]).set_index("id")

    @cached_property
    def videos(self) -> pd.DataFrame:
        """``clips`` of each source video, and how many of them do not stay (``changed``); by the names of the videos."""
        import pandas as pd

        total = pd.DataFrame({"clips": [], "changed": []}, dtype="int64")
        for one in self.clips():
            changes = pd.DataFrame(
                {"source": one["source"], "clips": 1, "changed": (one["state"] != KEPT).astype("int64")}
            )
            total = total.add(changes.groupby("source").sum(), fill_value=0)
        return total.astype("int64")

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
        if given is None and self.rule != "overlap":
            given = self.eps_of_rows
        return None if given is None or given != given else float(given)

    def with_sources(self, pairs: pd.DataFrame, other: str) -> pd.DataFrame:
        """A few pairs, with ``same_source``: whether ``id`` and the clip named by column `other` are of one video."""
        source = self.clips_named({*pairs["id"], *pairs[other].dropna()})["source"]
        one, two = pairs["id"].map(source), pairs[other].map(source)
        return pairs.assign(same_source=(one == two) & one.notna())


def first_rows(
    frames: Iterator[pd.DataFrame], by: list[str], most: int, *, ascending: list[bool] | None = None
) -> pd.DataFrame:
    """The first rows of all frames in the order of some columns. Memory holds as many of each frame."""
    found = joined([one.sort_values(by, ascending=ascending or True).head(most) for one in frames])
    return found.sort_values(by, ascending=ascending or True).head(most)


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the same columns as one. Empty ones are left out, as their types say nothing, but for the first."""
    import pandas as pd

    filled = [one for one in frames if len(one)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]
