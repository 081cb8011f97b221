"""The records of every stage of an output, as one listing of the output shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curator_dask.files.folder import Entry, Folder
from curator_dask.files.layout import BATCHES, PARAMETERS, PUBLISHED, STATE, UNITS
from curator_dask.runtime.markers.lines import fields_of, lines_in
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import FREE, StageState, parse_published


@dataclass(frozen=True)
class StageRecords:
    """What one stage recorded. Paths are relative to the folder of the stage."""

    state: StageState
    prefix: str
    """The stage's folder, relative to the output: "" or for instance ``kmeans/``."""
    units: Mapping[str, UnitRecord]
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

    def outputs(self) -> Iterator[tuple[str, int, str]]:
        """Every recorded file: path relative to the output, bytes with the hash, and key of its unit."""
        for key, record in self.units.items():
            yield from ((self.prefix + path, size, key) for path, size in record.outputs.items())
        yield from ((self.prefix + path, size, "") for path, size in self.published.items())


def find_stages(root: Folder, entries: Iterable[Entry]) -> list[StageRecords]:
    """The records of all stages below an output folder, by path."""
    own: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        before, found, after = f"/{entry.path}".rpartition(f"/{STATE}/")
        if found and "/" in after:
            own.setdefault((before[1:], after.split("/")[0]), []).append(entry.path)
    return [_read(root, folder, stage, paths) for (folder, stage), paths in sorted(own.items())]


def _read(root: Folder, folder: str, stage: str, paths: list[str]) -> StageRecords:
    state = StageState(root.below(folder) if folder else root, stage)
    prefix = f"{folder}/" if folder else ""
    found = _Found(state, prefix)
    # The oldest batch first, then the markers that are files of their own: what comes later counts.
    found.read_batches(root, _of(paths, prefix + state.path(BATCHES, ""), ".jsonl"))
    found.read_markers(root, _of(paths, prefix + state.path(UNITS, ""), ".json"))
    found.read_list(root, _of(paths, prefix + state.path(PUBLISHED), ""))
    if why := _fault_of_parameters(state, anything=bool(found.units or found.published)):
        found.damaged[state.path(PARAMETERS)] = why
    return StageRecords(
        state, prefix, dict(sorted(found.units.items())), found.published, found.damaged, tuple(found.texts)
    )


def _of(paths: Iterable[str], start: str, ending: str) -> list[str]:
    return sorted(path for path in paths if path.startswith(start) and path.endswith(ending))


@dataclass
class _Found:
    """What the files of a stage's records say."""

    state: StageState
    prefix: str
    units: dict[str, UnitRecord] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    texts: list[bytes] = field(default_factory=list)

    def read_batches(self, root: Folder, paths: Sequence[str]) -> None:
        for path, text in root.read_many(paths):
            whole, damaged = lines_in(text)
            for key, fields in fields_of(whole):
                self.units.pop(key, None)
                if fields is not None:
                    self._add(path, key, fields)
            numbers = {line: number for number, line in enumerate(text.split(b"\n"), start=1)} if damaged else {}
            for line in damaged:
                self._note(f"{path}:{numbers[line]}", line, "its bytes are not those that were written")

    def _add(self, path: str, key: str, fields: dict[str, Any]) -> None:
        try:
            self.units[key] = UnitRecord.from_fields(key, fields)
        except ValueError as error:  # written by a later version
            self.damaged[f"{path}:{key}".removeprefix(self.prefix)] = str(error)

    def read_markers(self, root: Folder, paths: Sequence[str]) -> None:
        for path, text in root.read_many(paths):
            try:
                record = UnitRecord.from_json(text)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._note(path, text, str(error))
            else:
                self.units[record.key] = record

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
