"""The records of every stage of an output, as one listing of the output shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from curator_dask.files.folder import Entry, Folder
from curator_dask.files.layout import PARAMETERS, PUBLISHED, STATE, UNITS
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
    """Path of each record that cannot be read → why."""
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
    units: dict[str, UnitRecord] = {}
    published: dict[str, int] = {}
    damaged: dict[str, str] = {}
    texts: list[bytes] = []
    markers, list_of_files = prefix + state.path(UNITS, ""), prefix + state.path(PUBLISHED)
    records = [path for path in paths if path == list_of_files or (path.startswith(markers) and path.endswith(".json"))]
    for path, text in root.read_many(records):
        try:
            if path == list_of_files:
                published = parse_published(text)
            else:
                record = UnitRecord.from_json(text)
                units[record.key] = record
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            damaged[path.removeprefix(prefix)] = str(error)
            texts.append(text)
    if why := _fault_of_parameters(state, anything=bool(units or published)):
        damaged[state.path(PARAMETERS)] = why
    return StageRecords(state, prefix, units, published, damaged, tuple(texts))


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
