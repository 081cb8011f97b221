"""What a stage remembers in its output folder, so that a run goes on where the last one stopped.

::

    {output}/.curator/{stage}/params.json       the parameters that determine the result
    {output}/.curator/{stage}/units/{key}.json  one marker a finished unit, written after the unit's outputs
    {output}/.curator/{stage}/summary.json      counts over all units, written last
    {output}/.curator/{stage}/failures.jsonl

A unit is done when its marker names the same inputs and every output is there with the recorded size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curator_dask.errors import FolderInUseError
from curator_dask.layout import STATE
from curator_dask.records import JSON, UnitRecord, digest, dump_json, failures_jsonl
from curator_dask.storage import Folder

FORMAT = 1


@dataclass(frozen=True)
class StageState:
    """The record of one stage in one output folder. Small and picklable: workers write the markers themselves."""

    folder: Folder
    stage: str

    def path(self, *parts: str) -> str:
        return "/".join((STATE, self.stage, *parts))

    def scratch_parts(self) -> tuple[str, ...]:
        return (STATE, self.stage, "tmp")

    def claim(self, identity: Mapping[str, JSON], *, overwrite: bool = False) -> None:
        """Take the folder for these parameters.

        Raises FolderInUseError if it holds results of others, naming the fields that differ; with `overwrite`, removes
        the files that those results recorded (nothing else) and starts anew.
        """
        wanted = json.loads(dump_json({"format": FORMAT, "stage": self.stage, "params": dict(identity)}))
        held = self._read_json("params.json")
        if held == wanted:
            if overwrite:
                self.discard()
            return
        if held is not None:
            if not overwrite:
                raise FolderInUseError(self._difference(held, wanted))
            self.discard()
        self.folder.write_bytes(self.path("params.json"), dump_json(wanted))

    def check(self, identity: Mapping[str, JSON]) -> None:
        """The refusal of `claim`, without writing anything (for a dry run)."""
        wanted = json.loads(dump_json({"format": FORMAT, "stage": self.stage, "params": dict(identity)}))
        held = self._read_json("params.json")
        if held not in (None, wanted):
            raise FolderInUseError(self._difference(held, wanted))

    def records(self) -> Iterator[UnitRecord]:
        """The markers there are, by unit key, one in memory at a time."""
        for entry in self.folder.entries(self.path("units"), hidden=True):
            if entry.path.endswith(".json"):
                yield UnitRecord.from_json(self.folder.read_bytes(entry.path))

    def record(self, key: str) -> UnitRecord | None:
        path = self.path("units", f"{key}.json")
        return UnitRecord.from_json(self.folder.read_bytes(path)) if self.folder.exists(path) else None

    def write(self, record: UnitRecord) -> None:
        """Write a unit's marker, after removing what an earlier version of the same unit wrote and this one did not."""
        before = self.record(record.key)
        if before is not None:
            for path in sorted(before.outputs.keys() - record.outputs.keys()):
                self.folder.remove(path)
        self.folder.write_bytes(self.path("units", f"{record.key}.json"), record.to_json())

    def done_units(self) -> dict[str, str]:
        """Unit key → inputs digest, of the units whose outputs are all there with the recorded sizes."""
        sizes = {entry.path: entry.num_bytes for entry in self.folder.entries()}
        return {
            record.key: record.inputs
            for record in self.records()
            if all(sizes.get(path) == num_bytes for path, num_bytes in record.outputs.items())
        }

    def forget(self, keys: Iterable[str]) -> None:
        """Remove units that are no longer part of the stage: their recorded outputs, then their markers."""
        for key in sorted(keys):
            record = self.record(key)
            for path in sorted(record.outputs) if record else ():
                self.folder.remove(path)
            self.folder.remove(self.path("units", f"{key}.json"))

    def discard(self) -> None:
        """Remove everything that this stage recorded as its own."""
        self.forget([record.key for record in self.records()])
        for entry in self.folder.entries(self.path(), hidden=True):
            self.folder.remove(entry.path)

    def summarise(self, counts: Mapping[str, int], extra: Mapping[str, JSON] | None = None) -> None:
        """Write the summary and the failures; files that would not change are left alone."""
        failures = (failure for record in self.records() for failure in record.failures)
        write_if_changed(self.folder, self.path("failures.jsonl"), failures_jsonl(failures))
        summary = {"stage": self.stage, "counts": dict(counts), **(extra or {})}
        write_if_changed(self.folder, self.path("summary.json"), dump_json(summary))

    def summary(self) -> dict[str, Any] | None:
        return self._read_json("summary.json")

    def fingerprint(self) -> str:
        """Digest of what a stage's result was made from: its parameters and its units' inputs."""
        return digest(self._read_json("params.json"), sorted((r.key, r.inputs) for r in self.records()))

    def _read_json(self, name: str) -> dict[str, Any] | None:
        if not self.folder.exists(self.path(name)):
            return None
        value: dict[str, Any] = json.loads(self.folder.read_bytes(self.path(name)))
        return value

    def _difference(self, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
        old, new = held.get("params", {}), wanted["params"]
        fields = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        told = "; ".join(f"{name} was {_show(old.get(name))} and is now {_show(new.get(name))}" for name in fields)
        told = told or f"it was written in format {held.get('format')}, this version writes {FORMAT}"
        return (
            f"{self.folder.url} holds results of stage {self.stage!r} with other parameters: {told}. "
            "Use the same parameters to go on, another output folder, or --overwrite to replace those results"
        )


def recorded_versions(folder: Folder) -> dict[str, str]:
    """Path → version of the files in a folder that stages recorded as theirs: what they were made from, not when.

    So a stage that reads them is not redone because they were copied or made again with the same result, and two runs
    leave the same bytes in their records.
    """
    prefix = f"{STATE}/"
    stages = {entry.path.split("/")[1] for entry in folder.entries(STATE, hidden=True) if entry.path.startswith(prefix)}
    versions: dict[str, str] = {}
    for stage in sorted(stages):
        state = StageState(folder, stage)
        parameters = state._read_json("params.json")
        for record in state.records():
            version = digest(parameters, record.key, record.inputs)
            versions.update(dict.fromkeys(record.outputs, version))
    return versions


def write_if_changed(folder: Folder, path: str, data: bytes) -> None:
    if not folder.exists(path) or folder.read_bytes(path) != data:
        folder.write_bytes(path, data)


def _show(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else f"{text[:117]}..."
