"""What the marker of a long video holds, and what its parts and the whole are called.

A video that is cut in parts has several units::

    the video     its marker names the spans, the parts and what its record says of the file; it has no clips
    each part     the clips of consecutive spans
    the whole     the record of the video and its tracks, when all parts are there
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from curator_dask.runtime.records import JSON, UnitRecord, digest
from curator_dask.video.cut.plan import Part, PartStart
from curator_dask.video.spans import Span, SpanPlan

PARTS = "parts"
"""The name of the plan in the marker of the video."""
PART_OF = "part_of"
"""The markers of parts, and of the whole, name the marker of their video under this name."""
VIDEOS_IN_PARTS = "videos_in_parts"
"""The count of a unit that planned parts and cut nothing."""


@dataclass(frozen=True, slots=True)
class LongVideo:
    """The plan of a video that is cut in parts."""

    name: str
    """Path of the video below the folder of the videos."""
    facts: Mapping[str, JSON]
    """What the record of the video says of its file."""
    duration_s: float | None
    plan: SpanPlan
    parts: tuple[Part, ...]

    def spans_of(self, number: int) -> tuple[Span, ...]:
        """The spans of one part."""
        part = self.parts[number]
        return self.plan.spans[part.first : part.after]

    def to_json(self) -> dict[str, JSON]:
        return {
            "name": self.name,
            "facts": dict(self.facts),
            "duration_s": self.duration_s,
            "spans": [[span.start_s, span.end_s] for span in self.plan.spans],
            "left_out": [
                self.plan.num_dropped_short,
                self.plan.num_dropped_limit,
                self.plan.num_beyond_end,
                self.plan.num_shortened,
            ],
            "notes": list(self.plan.notes),
            "parts": [[part.first, part.after, _start_json(part.start)] for part in self.parts],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> LongVideo:
        spans = tuple(Span(index, start_s, end_s) for index, (start_s, end_s) in enumerate(value["spans"]))
        short, limit, beyond_end, shortened = value["left_out"]
        plan = SpanPlan(spans, short, limit, beyond_end, shortened, tuple(value["notes"]))
        parts = tuple(Part(first, after, _start(start)) for first, after, start in value["parts"])
        return LongVideo(value["name"], value["facts"], value["duration_s"], plan, parts)


def long_video_of(record: UnitRecord | None) -> LongVideo | None:
    """The plan in the marker of a video; None where there is none."""
    return LongVideo.from_json(record.data[PARTS]) if record is not None and PARTS in record.data else None


def key_of_video(name: str) -> str:
    """The key of the unit of a video."""
    return digest(name)


def key_of_part(name: str, number: int) -> str:
    """The key of the unit of a part."""
    return digest(name, number)


def key_of_whole(name: str) -> str:
    """The key of the unit that makes one record of all parts."""
    return digest(name, "whole")


def _start_json(start: PartStart | None) -> JSON:
    if start is None:
        return None
    return [start.seek_s, start.first_s, start.zero_ticks, start.tick_s.numerator, start.tick_s.denominator]


def _start(value: Any) -> PartStart | None:
    if value is None:
        return None
    seek_s, first_s, zero_ticks, numerator, denominator = value
    return PartStart(seek_s, first_s, zero_ticks, Fraction(numerator, denominator))
