"""The records of every stage of an output, as one listing of the output shows them. Those of units are told one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curator_dask.files.folder import Folder
from curator_dask.files.layout import BATCHES, PARAMETERS, PUBLISHED, STATE, UNITS
from curator_dask.runtime.markers.lines import fields_of, lines_in
from curator_dask.runtime.published import parse_published
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import FREE, StageState
from curator_dask.verify.recorded_files import RecordedFiles

_ENDINGS = (".json", ".jsonl")
LINES_AT_ONCE = 1_024
"""Lines of a batch that are read together."""


@dataclass(frozen=True)
class StageRecords:
    """What one stage recorded. Paths are relative to the folder of the stage."""

    number: int
    """Stages of an output are counted by path, from 0."""
    state: StageState
    prefix: str
    """The stage's folder, relative to the output: "" or for instance ``kmeans/``."""
    published: Mapping[str, int]
    """Files of the stage as a whole, as `StageState.published` gives them."""
    damaged: Mapping[str, str]
    """Path of each record that cannot be read → why; of one in a batch, with the number of its line behind a colon."""
    damaged_texts: tuple[bytes, ...] = ()
    """What is left of the records that cannot be read."""

    @property
    def name(self) -> str:
        return self.state.stage

    def is_named_by_damaged(self, path: str) -> bool:
        """Whether a damaged record names this file of the stage, be the damage in the name itself."""
        name = json.dumps(path)[1:-1].encode()
        return any(holds_with_a_fault(text, name) for text in self.damaged_texts)


@dataclass(frozen=True)
class UnitOfStage:
    """The record of one unit, and whose it is."""

    stage: int
    """The number of the stage."""
    state: StageState
    prefix: str
    record: UnitRecord


Each = Callable[[UnitOfStage], None]
"""Is told of each unit."""


def find_stages(root: Folder, paths: Iterable[str], each: Each) -> list[StageRecords]:
    """The records of all stages below an output folder, by path.

    Args:
        root: the output.
        paths: of all its files, hidden ones too.
        each: is told of each unit, as its last record says, in any order. Memory holds the keys of the units of one stage.
    """
    own: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        before, found, after = f"/{path}".rpartition(f"/{STATE}/")
        if found and "/" in after:
            own.setdefault((before[1:], after.split("/")[0]), []).extend([path] if path.endswith(_ENDINGS) else [])
    return [
        _read(root, number, folder, stage, records, each)
        for number, ((folder, stage), records) in enumerate(sorted(own.items()))
    ]


def recorded_stages(root: Folder, files: RecordedFiles, each: Each | None = None) -> list[StageRecords]:
    """As `find_stages` of all files below an output, which are added to `files` with what the records say of them."""

    def add(unit: UnitOfStage) -> None:
        files.add(unit.stage, unit.prefix, unit.record.outputs.items(), unit.record.key)
        if each is not None:
            each(unit)

    stages = find_stages(root, files.listing(root.each_entry(hidden=True)), add)
    for stage in stages:
        files.add(stage.number, stage.prefix, stage.published.items())
    return stages


def _read(root: Folder, number: int, folder: str, stage: str, paths: list[str], each: Each) -> StageRecords:
    state = StageState(root.below(folder) if folder else root, stage)
    prefix = f"{folder}/" if folder else ""
    found = _Found(state, prefix, lambda record: each(UnitOfStage(number, state, prefix, record)))
    # What was written last counts: the markers that are files of their own, then the batches, the newest one first.
    found.read_markers(root, _of(paths, prefix + state.path(UNITS, ""), ".json")[::-1])
    found.read_batches(root, _of(paths, prefix + state.path(BATCHES, ""), ".jsonl")[::-1])
    found.damaged = dict(reversed(found.damaged.items()))
    found.read_list(root, _of(paths, prefix + state.path(PUBLISHED), ""))
    if why := _fault_of_parameters(state, anything=bool(found.num_units or found.published)):
        found.damaged[state.path(PARAMETERS)] = why
    return StageRecords(number, state, prefix, found.published, found.damaged, tuple(found.texts))


def _of(paths: Iterable[str], start: str, ending: str) -> list[str]:
    return sorted(path for path in paths if path.startswith(start) and path.endswith(ending))


@dataclass
class _Found:
    """What the files of a stage's records say, the newest of which is read first."""

    state: StageState
    prefix: str
    tell: Callable[[UnitRecord], None]
    seen: set[str] = field(default_factory=set)
    """The keys of units of which a record was read."""
    num_units: int = 0
    published: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    texts: list[bytes] = field(default_factory=list)

    def read_markers(self, root: Folder, paths: Sequence[str]) -> None:
        for path, text in root.read_many(paths):
            try:
                record = UnitRecord.from_json(text)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._note(path, text, str(error))
            else:
                self._tell(record.key, record)

    def read_batches(self, root: Folder, paths: Sequence[str]) -> None:
        for path, text in root.read_many(paths, at_once=1):
            whole, damaged = (lines[::-1] for lines in lines_in(text))
            numbers = {line: number for number, line in enumerate(text.split(b"\n"), start=1)} if damaged else {}
            for line in damaged:
                self._note(f"{path}:{numbers[line]}", line, "its bytes are not those that were written")
            for start in range(0, len(whole), LINES_AT_ONCE):
                for key, fields in fields_of(whole[start : start + LINES_AT_ONCE]):
                    self._tell(key, None if fields is None else self._record(path, key, fields))

    def _record(self, path: str, key: str, fields: dict[str, Any]) -> UnitRecord | None:
        try:
            return UnitRecord.from_fields(key, fields)
        except ValueError as error:  # written by a later version
            self.damaged[f"{path}:{key}".removeprefix(self.prefix)] = str(error)
            return None

    def _tell(self, key: str, record: UnitRecord | None) -> None:
        """Tell of a unit unless a newer record was read; None stands for one that is forgotten or cannot be read."""
        if key not in self.seen and record is not None:
            self.num_units += 1
            self.tell(record)
        self.seen.add(key)

    def read_list(self, root: Folder, paths: Sequence[str]) -> None:
        for path, text in root.read_many(paths):
            try:
                self.published = parse_published(text)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._note(path, text, str(error))

    def _note(self, path: str, text: bytes, why: str) -> None:
        self.damaged[path.removeprefix(self.prefix)] = why
        self.texts.append(text)


def _fault_of_parameters(state: StageState, *, anything: bool) -> str:
    """Why nobody knows what the stage's results were made with; "" if that is known, or if there are none."""
    held = state.held_for()
    if held is None:
        return "it is missing" if anything else ""
    return "" if isinstance(held.get("params"), dict) or held.get(FREE) else "its bytes are not those that were written"


def holds_with_a_fault(text: bytes, name: bytes) -> bool:
    """Whether a text holds a name of which at most one byte is another one. One half of such a name is whole."""
    middle = len(name) // 2
    halves = ((name[:middle], 0), (name[middle:], middle))
    return any(
        _differ_at_most_once(text[start : start + len(name)], name)
        for half, offset in halves
        for start in (found - offset for found in _places(text, half))
        if start >= 0
    )


def _places(text: bytes, part: bytes) -> Iterator[int]:
    return (match.start() for match in re.finditer(re.escape(part), text))


def _differ_at_most_once(one: bytes, other: bytes) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) <= 1
