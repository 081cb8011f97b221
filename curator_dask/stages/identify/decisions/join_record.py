"""The record of a join, so that a run that finds all of it done does nothing, and starts no workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clip_index import has_clip_index
from curator_dask.files.folder import Folder
from curator_dask.files.layout import decision_part
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.decisions.by_hand import ByHand
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.parts import part_inputs

JOIN_UNIT: Final = "join"
VERSION: Final = 1
"""Version of how decisions are joined. What an older one joined is joined again."""


@dataclass(frozen=True)
class Joined:
    """What was decided on all rows."""

    counts: dict[str, int]
    """Rows, kept and removed ones, orphans, and groups."""
    by_hand: ByHand
    emptied: EmptiedSources | None
    """None also where nothing is known of sources."""
    min_strength: int = 0
    """By the rule ``overlap``, the least strength of the overlaps that counted, in thousandths."""


class RecordedJoin(NamedTuple):
    """What an earlier run made."""

    joined: Joined
    paths: list[str]
    """The files of the parts."""


def made_from(decided: DecidedClusters, clips: Folder | None, overrides: Mapping[str, Override] | None) -> str:
    """Digest of all that the decisions depend on."""
    return digest(
        VERSION, decision_parts.PART_ROWS, list(decided.inputs), asdict(decided.rule), *depends_on(clips, overrides)
    )


def depends_on(clips: Folder | None, overrides: Mapping[str, Override] | None) -> list[Any]:
    """What decisions depend on whatever the rule is: the clip index, and what a person decided."""
    index = ClipIndex.of(clips).version if clips is not None and has_clip_index(clips) else ""
    by_hand = None if overrides is None else [[name, one.decision] for name, one in sorted(overrides.items())]
    return [clips is not None, index, by_hand]


def recorded_join(state: StageState, inputs: str) -> RecordedJoin | None:
    """What an earlier run made from the same, if all of its parts are there."""
    record = state.record(JOIN_UNIT)
    if record is None or record.inputs != inputs:
        return None
    data: Any = record.data
    parts = part_inputs(state)
    if data["parts"] != parts:
        return None
    counts, warnings = data["by_hand"]
    emptied = data["emptied"] and EmptiedSources(*data["emptied"])
    joined = Joined(data["counts"], ByHand(counts, tuple(warnings)), emptied, data.get("min_strength", 0))
    return RecordedJoin(joined, [decision_part(number) for number in range(len(parts))])


def record_join(state: StageState, inputs: str, joined: Joined) -> None:
    """Note what was made, when all of it is there."""
    emptied = joined.emptied and list(joined.emptied)
    by_hand = [joined.by_hand.counts, list(joined.by_hand.warnings)]
    data: dict[str, Any] = {
        "parts": part_inputs(state),
        "counts": joined.counts,
        "by_hand": by_hand,
        "emptied": emptied,
        **({"min_strength": joined.min_strength} if joined.min_strength else {}),
    }
    state.write(UnitRecord(JOIN_UNIT, inputs, data=data))
