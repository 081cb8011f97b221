"""Cut long videos in parts: units for the parts of those whose plan is there, then one unit per video that is whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from curator_dask.runtime.records import Failure, UnitRecord, add_counts, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.split.long_video import (
    PARTS,
    VIDEOS_IN_PARTS,
    LongVideo,
    key_of_part,
    key_of_whole,
    long_video_of,
)
from curator_dask.stages.split.part_worker import cut_part, join_parts
from curator_dask.stages.split.spec import SplitTask


@dataclass(frozen=True)
class _Parts:
    """A long video: its unit, its plan, and the units of its parts."""

    unit: Unit[SplitTask]
    video: LongVideo
    units: tuple[Unit[SplitTask], ...]


def cut_long_videos(
    context: RunContext,
    state: StageState,
    units: Sequence[Unit[SplitTask]],
    outcome: UnitsOutcome,
    again: Collection[str],
) -> tuple[UnitsOutcome, set[str]]:
    """Cut the parts of the videos that these units planned; returns the outcome of all, and the keys of units whose clips count.

    The clips of a video count when all its parts are there. Else the video is a failure that is open, and what was cut of
    it stays for the next run.
    """
    keys = {unit.key for unit in units}
    if not outcome.counts.get(VIDEOS_IN_PARTS):
        return outcome, keys
    found = list(_long_videos(state, units))
    tell = {"reporter": context.reporter, "again": again}
    parts = [part for one in found for part in one.units]
    cut = run_units(context.cluster, state, parts, cut_part, what="parts of long videos", **tell)  # type: ignore[arg-type]
    whole = {one.unit.key: records for one in found if (records := _records(state, one))}
    joins = [_join_unit(one, whole[one.unit.key]) for one in found if one.unit.key in whole]
    joined = run_units(context.cluster, state, joins, join_parts, what="long videos", **tell)  # type: ignore[arg-type]
    of_clips = add_counts(record.counts for records in whole.values() for record in records)
    left = {"units_failed": len(found) - len(whole)}
    counts = add_counts([outcome.counts, of_clips, joined.counts, left])
    failures = (*outcome.failures, *_kept_failures(cut, found, whole), *joined.failures)
    num_run = outcome.num_run + cut.num_run + joined.num_run
    num_skipped = outcome.num_skipped + cut.num_skipped + joined.num_skipped
    keys |= {record.key for records in whole.values() for record in records}
    return UnitsOutcome(counts, failures, num_run, num_skipped), keys


def known_parts(state: StageState, units: Sequence[Unit[SplitTask]]) -> list[Unit[SplitTask]]:
    """The units of the parts that earlier runs planned: for a dry run, which can only count what is known."""
    return [part for one in _long_videos(state, units) for part in one.units]


def _long_videos(state: StageState, units: Sequence[Unit[SplitTask]]) -> Iterator[_Parts]:
    by_key = {unit.key: unit for unit in units}
    for record in state.records():
        unit, video = by_key.get(record.key), long_video_of(record)
        if unit is not None and video is not None and record.inputs == unit.inputs:
            numbers = range(len(video.parts))
            version = digest(unit.inputs, record.data[PARTS])
            yield _Parts(unit, video, tuple(_part_unit(unit, video, number, version) for number in numbers))


def _part_unit(unit: Unit[SplitTask], video: LongVideo, number: int, version: str) -> Unit[SplitTask]:
    task = replace(unit.task, part=number)
    careful = task.without_taps() if unit.careful is not None else None
    return replace(unit, key=key_of_part(video.name, number), inputs=version, task=task, careful=careful)


def _join_unit(one: _Parts, records: Sequence[UnitRecord]) -> Unit[SplitTask]:
    parts = [[record.inputs, record.counts, sorted(record.outputs.items())] for record in records]
    return replace(one.unit, key=key_of_whole(one.video.name), inputs=digest(parts))


def _records(state: StageState, one: _Parts) -> list[UnitRecord]:
    """The markers of all parts; none where a part is not done."""
    records = [state.record(unit.key) for unit in one.units]
    done = [
        record
        for record, unit in zip(records, one.units, strict=True)
        if record is not None and record.is_done and record.inputs == unit.inputs
    ]
    return done if len(done) == len(records) else []


def _kept_failures(cut: UnitsOutcome, found: Sequence[_Parts], whole: Collection[str]) -> Iterator[Failure]:
    """The failures of clips of whole videos, and of each other video the first that says why it is not whole."""
    unfinished = {one.unit.source for one in found if one.unit.key not in whole}
    told: set[str] = set()
    for failure in cut.failures:
        if failure.clip_id and failure.source not in unfinished:
            yield failure
        elif not failure.clip_id and failure.source not in told:
            told.add(failure.source)
            yield failure
