"""Whether a long video is cut in parts, and in which.

A part is cut by a process of its own, so several workers can cut one video, and what was cut stays when a run is killed.
Parts follow from the video and the parameters alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from curator_dask.video.cut.command import CutJob, begin_args, late_start_s
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.plan import Part, PartStart, plan_lanes
from curator_dask.video.parts.borders import Border, borders_from, planned_borders
from curator_dask.video.parts.packets import PacketTimes, read_packet_times
from curator_dask.video.parts.seams import start_at
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import LATE_FRAMES_S, Span

STEADY_CLOCK = ("mov", "matroska")
"""Demuxers, by the start of their name, whose time stamps do not depend on where reading began. Transport and program
streams have clocks that are repaired from the start on, AVI has none, and the others were not tried."""
MOST_SEAMS = 4
"""Places that are tried for one border by decoding. Where none is good, two parts stay one."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The parts of a video; or why it is cut in one go, although it is long."""

    parts: tuple[Part, ...] = ()
    why_whole: str = ""


def plan_parts(info: VideoInfo, spans: Sequence[Span], settings: TranscodeSettings, part_s: float) -> PartPlan:
    """Plan the parts of a video whose spans reach beyond `part_s` seconds; 0: never cut in parts.

    A plan without parts and without a reason is for a video that is short, or is copied: copying decodes nothing.
    Costs one reading of the file and some decoding around each border. Raises MediaError("timeout").
    """
    num_parts = _num_parts(spans, part_s)
    if num_parts < 2 or settings.encoder == "copy":
        return PartPlan()
    if not info.container.startswith(STEADY_CLOCK) or info.needs_generated_timestamps:
        return PartPlan(
            why_whole=f"times in files of its kind ({info.container}) are only known by reading from the start"
        )
    job = CutJob(info, tuple(plan_lanes(spans, info.duration_s)), settings)
    packets = read_packet_times(info, begin_args(job))
    why_whole = "some of its packets have no time" if packets is None else _oddity(info, packets, job)
    if packets is None or why_whole:
        return PartPlan(why_whole=why_whole)
    return _parts(job, spans, num_parts, packets)


def _num_parts(spans: Sequence[Span], part_s: float) -> int:
    if part_s <= 0 or not spans:
        return 1
    return min(math.ceil(max(span.end_s for span in spans) / part_s - 1e-9), len(spans) // 2)


def _oddity(info: VideoInfo, packets: PacketTimes, job: CutJob) -> str:
    """Why the packets cannot be trusted; empty if they can."""
    first_s = info.start_s - info.container_start_s - late_start_s(job)
    if abs(float(packets.shown[0] * packets.tick_s) - first_s) > max(0.001, 1.5 * float(packets.tick_s)):
        return "its first frame is not that of its first packet"
    last_s = float(packets.seconds(packets.shown[-1:])[0])
    if info.duration_s is None or last_s > info.duration_s + LATE_FRAMES_S / 2:
        return "its header states a duration that its packets do not have"
    return ""


def _parts(job: CutJob, spans: Sequence[Span], num_parts: int, packets: PacketTimes) -> PartPlan:
    times_s, keys_s = packets.seconds(packets.shown), packets.seconds(packets.keys)
    starts: list[tuple[int, PartStart | None]] = [(0, None)]
    for planned in planned_borders(spans, num_parts):
        if planned > starts[-1][0] + 1:  # else the border before was moved beyond it
            borders = borders_from(planned, spans, times_s, keys_s, len(job.lanes))
            starts += _first_good(borders, job, packets)
    afters = [*(first for first, _ in starts[1:]), len(spans)]
    parts = tuple(Part(first, after, start) for (first, start), after in zip(starts, afters, strict=True))
    return PartPlan(parts) if len(parts) > 1 else PartPlan(why_whole="no place was found where decoding can begin")


def _first_good(borders: Iterable[Border], job: CutJob, packets: PacketTimes) -> Iterator[tuple[int, PartStart]]:
    """The first border at which decoding may begin, with where it does, if there is one."""
    for border in itertools.islice(borders, MOST_SEAMS):
        start = start_at(border, job.info, packets, late_start_s(job))
        if start is not None:
            yield border.span, start
            return
