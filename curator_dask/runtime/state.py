"""The state that a stage keeps in its output folder, so that a run continues where the last one stopped.

::

    {output}/.curator/{stage}/params.json        the parameters that determine the result
    {output}/.curator/{stage}/units/{key}.json   one marker per finished unit, written after the unit's outputs
    {output}/.curator/{stage}/units/{key}.arrow  a unit's table for the stage itself, see `StageState.beside_marker`
    {output}/.curator/{stage}/batches/*.jsonl    the markers of many units in one file, see `markers.packing`
    {output}/.curator/{stage}/files.json         files of the stage as a whole (tables, lists), see `publish`
    {output}/.curator/{stage}/summary.json       counts over all units, written last
    {output}/.curator/{stage}/failures.jsonl

A unit is done when its marker names the same inputs and no open failure (`failing.final_reasons`), and every output is
there with the recorded size. Markers and
``files.json`` also hold the hash of each file, which `verify` compares. They and ``params.json`` have a seal over their own
bytes, so that damage is known as such even where several of them are damaged.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curator_dask.errors import FolderInUseError, InputError
from curator_dask.files.content_hash import hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.layout import BATCHES, FAILURES, PARAMETERS, PUBLISHED, STATE, SUMMARY, UNITS
from curator_dask.runtime.markers.markers import Markers
from curator_dask.runtime.markers.packing import drop_damaged, forget, pack
from curator_dask.runtime.markers.sizes import Sizes
from curator_dask.runtime.parameters.comparison import (
    FORMAT,
    RELATIVE,
    Comparison,
    as_record,
    moved_path,
    without_relative,
)
from curator_dask.runtime.published import PublishedFiles, bytes_of, write_if_changed
from curator_dask.runtime.records import (
    JSON,
    Failure,
    FoundUnit,
    UnitRecord,
    digest,
    dump_json,
    failures_jsonl,
    hashes_of,
    seal,
    unseal,
    with_hashes,
)

BROKEN = "broken:"
"""Stands before the inputs of a unit whose outputs were found broken, so that no run takes it for done."""

FREE = "free"
"""Says in the parameters of a folder that their run came to its end without a result."""

_FIELDS = frozenset({"format", "stage", "params", RELATIVE, FREE})
"""What parameters' files hold beside the seal. A seal whose name is damaged would else be taken for none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageState:
    """The record of one stage in one output folder. Small and picklable: workers write the markers themselves."""

    folder: Folder
    stage: str
    unrecorded: Mapping[str, JSON] = field(default_factory=dict, compare=False)
    """The values of parameters that the identity leaves out, for messages."""

    def path(self, *parts: str) -> str:
        return "/".join((STATE, self.stage, *parts))

    def beside_marker(self, key: str) -> str:
        """Path of an Arrow file that lies beside a unit's marker, for what the stage reads again and no user needs.

        The unit names it among its outputs, so it is written before the marker and removed with it.
        """
        return self.path(UNITS, f"{key}.arrow")

    def beside_markers(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes, str]]:
        """Files beside markers, few in memory at a time: path, content, and the hash in the marker; "" where it is not known.

        Raises InputError for a file that is not there.
        """
        hashes = self._hashes_beside(paths)
        try:
            for path, data in self.folder.read_many(paths):
                yield path, data, hashes.get(path, "")
        except FileNotFoundError as error:
            raise InputError(f"{error.filename or error} is not there any more: run again") from error

    def _hashes_beside(self, paths: Sequence[str]) -> dict[str, str]:
        """Path → hash in the marker, of files beside markers."""
        keys = {path.rpartition("/")[2].removesuffix(".arrow"): path for path in paths}
        found = ((keys[record.key], hashes_of(record.outputs)) for record in self._markers.of(list(keys)))
        return {path: hashes[path] for path, hashes in found if path in hashes}

    def scratch_parts(self) -> tuple[str, ...]:
        return (STATE, self.stage, "tmp")

    def claim(self, identity: Mapping[str, JSON], *, overwrite: bool = False, replaceable: Collection[str] = ()) -> str:
        """Take the folder for these parameters; returns what replaced others: ``eps was 0.65 and is now 0.1``, else "".

        Results of the same parameters are kept in any case: there is nothing in them to replace. Results of others are
        replaced with `overwrite`, or if they differ in `replaceable` parameters alone: the files that they recorded are
        removed, and no others. A folder that was taken and holds no results yet is free.

        Raises InputError where it cannot be a folder, and FolderInUseError if it holds results of other parameters.
        """
        self.folder.check_is_no_file()
        wanted = self._record_of(identity)
        if recorded := self._as_recorded(wanted):
            write_if_changed(self.folder, self.path(PARAMETERS), recorded)
            return ""
        held = self.held_for()
        is_new = held is None and not self._has_results(held)
        if is_new and self.folder.create_bytes(self.path(PARAMETERS), seal(wanted)):
            return ""
        compared = Comparison(
            self.held_for() or {}, wanted, self.unrecorded
        )  # another run may have taken the folder just now
        if compared.same():
            if compared.held.get(FREE):
                self._rewrite_parameters(wanted)
            return ""
        if not overwrite:
            self._refuse(compared, replaceable)
        replaced = compared.describe() if self._has_results(compared.held) else ""
        self.discard()
        self.folder.write_bytes(self.path(PARAMETERS), seal(wanted))
        return replaced

    def check(self, identity: Mapping[str, JSON], *, replaceable: Collection[str] = ()) -> str:
        """Refuse as `claim` does, but write nothing (for a dry run); returns what would be replaced."""
        self.folder.check_is_no_file()
        held = self.held_for()
        wanted = self._record_of(identity)
        compared = Comparison(held or {}, wanted, self.unrecorded)
        if (held is None and not self._has_results(held)) or compared.same() or self._as_recorded(wanted):
            return ""
        self._refuse(compared, replaceable)
        return compared.describe() if self._has_results(compared.held) else ""

    def holds_others(self, identity: Mapping[str, JSON]) -> bool:
        """Whether the folder is taken for other parameters than these."""
        held = self.held_for()
        return held is not None and not Comparison(held, self._record_of(identity)).same()

    def _record_of(self, identity: Mapping[str, JSON]) -> dict[str, JSON]:
        """What is written down of parameters, as it is read again."""
        return dict(json.loads(dump_json(as_record(self.folder, self.stage, identity))))

    def _refuse(self, compared: Comparison, replaceable: Collection[str]) -> None:
        """Raise FolderInUseError if the folder holds results that differ in other parameters than the `replaceable` ones."""
        fields = compared.fields()
        only_those = bool(fields) and set(fields) <= set(replaceable) and isinstance(compared.held.get("params"), dict)
        if not only_those and self._has_results(compared.held):
            raise FolderInUseError(self._difference(compared))

    def _has_results(self, held: Mapping[str, JSON] | None) -> bool:
        """Whether a unit wrote something here, or a file of the stage as a whole is there, and the folder was not released.

        `held`: what the folder is taken for.
        """
        if (held or {}).get(FREE):
            return False
        return any(record.outputs for record in self.records()) or any(
            self.folder.exists(path) for path in self._published_paths()
        )

    def _as_recorded(self, wanted: Mapping[str, JSON]) -> bytes:
        """The bytes that a finished run wrote for these parameters, whatever is in their file now: a disk may have damaged it.

        b"" where none recorded them. Earlier versions wrote them without a seal.
        """
        recorded = self._hash_of_parameters()
        texts = (seal(wanted), dump_json(wanted)) if recorded else ()
        return next((text for text in texts if hash_of(text, like=recorded) == recorded), b"")

    def _hash_of_parameters(self) -> str:
        """The hash that a finished run recorded; "" where there is none."""
        return hashes_of(self.published()).get(self.path(PARAMETERS), "")

    def give_up_parameters(self) -> None:
        """Leave the folder to any parameters, as those of its results are lost.

        Where a finished run recorded their hash, they are left: the command that made the results restores them.
        """
        if not self._hash_of_parameters():
            self.folder.write_bytes(self.path(PARAMETERS), seal({FREE: True}))

    def release(self, result: str) -> None:
        """Leave the folder to any parameters if no unit counts a `result` (clips, say); the same ones still go on here."""
        held = self.held_for()
        if held and not any(record.counts.get(result) for record in self.records()):
            self._rewrite_parameters({**held, FREE: True})

    def _rewrite_parameters(self, record: Mapping[str, JSON]) -> None:
        """Write other parameters; where a finished run noted their hash, that follows, as nothing is damaged."""
        was_noted = bool(self._hash_of_parameters())
        self.folder.write_bytes(self.path(PARAMETERS), seal(record))
        if was_noted:
            self.note_parameters()

    def held_for(self) -> dict[str, JSON] | None:
        """What the folder is taken for: format, stage and parameters. None if it is not taken.

        An empty dictionary stands for a file that cannot be understood.
        """
        try:
            held = unseal(self.folder.read_bytes(self.path(PARAMETERS)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        return held if held.keys() <= _FIELDS else {}

    def parameter(self, name: str) -> JSON:
        """One of the parameters that the folder is taken for; None if it is not taken."""
        return _parameter_in(self.held_for() or {}, name)

    def recorded_path(self, name: str) -> str | None:
        """Like `parameter`, for a path, which may have been moved together with the folder."""
        held = self.held_for() or {}
        moved = moved_path(held, self.folder, name)
        if moved is not None and self.folder.is_local and Path(moved).exists():
            return moved
        value = _parameter_in(held, name)
        return value if isinstance(value, str) else None

    def records(self) -> Iterator[UnitRecord]:
        """All markers, sorted by unit key, few in memory at a time. A marker that cannot be read is left out."""
        return self._markers.records()

    def unit_keys(self) -> set[str]:
        """The keys of all units that have a marker, also one that cannot be read."""
        return self._markers.keys()

    def records_of(self, keys: Sequence[str]) -> Iterator[UnitRecord]:
        """The markers of these units, in any order, few in memory at a time. Units without one are left out."""
        return self._markers.of(keys)

    def record(self, key: str) -> UnitRecord | None:
        """The marker of one unit; None where there is none that can be read."""
        return self._markers.record(key)

    def write(self, record: UnitRecord, before: Collection[str] | None = None) -> None:
        """Write a unit's marker, after removing what an earlier version of the same unit wrote and this one did not.

        `before`: what the earlier version wrote, as far as a batch tells it; None: it is looked up.
        """
        loose = self._markers.loose(record.key)
        if loose is None and before is None:
            loose = self._markers.packed(record.key, self._markers.batches.listed())
        for path in sorted({*(loose.outputs if loose else before or ())} - record.outputs.keys()):
            self.folder.remove(path)
        self.folder.write_bytes(
            self._markers.loose_path(record.key), replace(record, outputs=self._hashed(record.outputs)).to_json()
        )

    def pack(self) -> set[str]:
        """Put the markers of finished units together in few files, if there are many. For the client of a run alone.

        Returns the keys of the units that had a file of their own before.
        """
        return pack(self._markers)

    @property
    def _markers(self) -> Markers[UnitRecord]:
        return Markers(self.folder, self.path(), UnitRecord.from_json, UnitRecord.from_fields)

    def _hashed(self, outputs: Mapping[str, int]) -> dict[str, int]:
        """The outputs with their hashes. A file whose writer could not tell its hash is read once more."""
        known = hashes_of(outputs)
        for path in outputs.keys() - known.keys():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, InputError):
                known[path] = self.folder.content_hash(path)
        return with_hashes(outputs, known)

    def done_units(self, keys: Container[str] | None = None) -> dict[str, str]:
        """Unit key → inputs digest, for the units without open failures whose outputs are all there with the recorded sizes.

        `keys`: the units that are asked for; None: all.
        """
        return {unit.key: unit.inputs for unit, is_done in self.checked_units(keys) if is_done}

    def checked_units(self, keys: Container[str] | None = None) -> Iterator[tuple[FoundUnit, bool]]:
        """The markers of some units, and whether the unit is done: no open failure, and all outputs there with the recorded
        sizes. None: of all units."""
        sizes = Sizes(self.folder)
        markers = Markers(self.folder, self.path(), FoundUnit.from_json, FoundUnit.from_fields)
        for unit in markers.records(keys):
            if keys is None or unit.key in keys:
                yield unit, unit.is_done and sizes.all_there(unit.outputs)

    def units_with_failures(self) -> set[str]:
        """The keys of units that recorded failures, final ones too: with ``--retry-failed`` they are done again."""
        return {record.key for record in self.records() if record.failures}

    def forget(self, keys: Iterable[str], *, known: Set[str] | None = None) -> None:
        """Remove units that are no longer part of the stage: their recorded outputs, then their markers.

        `known`: the keys that batches may hold, where the caller knows them; None: it is looked up.
        """
        wanted = sorted(keys)
        batches = self._markers.batches.listed() if known is None or not known.isdisjoint(wanted) else []
        packed = {record.key: record for record in self._markers.packed_ones(wanted, batches)}
        for key in wanted:
            record = self._markers.loose(key) or packed.get(key)
            # A unit that failed may have left the file beside its marker and no marker.
            for path in sorted({self.beside_marker(key), *(record.outputs if record else ())}):
                self.folder.remove(path)
        forget(self._markers, packed)  # before the loose ones: an older version must not come back
        for key in wanted:
            self.folder.remove(self._markers.loose_path(key))

    def mark_broken(self, key: str) -> None:
        """Note that a unit is to be done again, as its outputs are not what it wrote. They stay where they are."""
        record = self.record(key)
        if record is not None and not record.inputs.startswith(BROKEN):
            self.folder.write_bytes(
                self._markers.loose_path(key), replace(record, inputs=BROKEN + record.inputs).to_json()
            )

    def drop_damaged(self) -> None:
        """Leave out of the batches what cannot be read in them."""
        drop_damaged(self._markers.batches)

    @property
    def _of_stage(self) -> PublishedFiles:
        return PublishedFiles(self.folder, self.path(PUBLISHED))

    def publish(self, path: str, data: bytes) -> None:
        """Write a file of the stage as a whole (a table over all units) and note that the stage owns it.

        A file that would not change is left alone.
        """
        self._of_stage.write(path, data)

    def publish_file(self, path: str, local: Path) -> None:
        """As `publish`, for a finished local file, which is moved to its place. It is never in memory as a whole."""
        self._of_stage.put(path, local)

    def note_parameters(self) -> None:
        """Note the hash of the parameters; `summarise` does it too."""
        self._of_stage.note_contents(self._parameters())

    def _parameters(self) -> dict[str, bytes]:
        path = self.path(PARAMETERS)
        text = bytes_of(self.folder, path)
        return {} if text is None else {path: text}

    def note(self, files: Mapping[str, int]) -> None:
        """Note files of the stage as a whole beside those that are noted: path → bytes, as `Written` with the hash.

        -1 bytes stand for a file that is still to be written. `publish` notes what it writes itself.
        """
        self._of_stage.note(files)

    def note_written(self, paths: Iterable[str]) -> None:
        """Note that these are the files of the stage as a whole; they are there already."""
        before = self.published()
        own = {path: size for path, size in before.items() if path.startswith(f"{STATE}/")}
        sizes = {path: self.folder.size(path) or 0 for path in paths}
        self._of_stage.replace(before, {**own, **self._hashed(sizes)})

    def unpublish(self, path: str) -> None:
        """Remove a file of the stage as a whole, if there is one."""
        self._of_stage.remove(path)

    def published(self) -> dict[str, int]:
        """Files of the stage as a whole, its own summary too: path → bytes with the hash; -1 bytes where only the name is known.

        Empty where the list is missing or damaged.
        """
        return self._of_stage.listed()

    def read_published(self) -> dict[str, int]:
        """As `published`. Raises ValueError for a list that is damaged."""
        return self._of_stage.read()

    def discard(self) -> None:
        """Remove everything that this stage recorded as its own."""
        for path in self._published_paths():
            self.folder.remove(path)
        for record in self.records():
            for path in record.outputs:
                self.folder.remove(path)
        # The parameters last: until then the folder still counts as taken.
        own = [entry.path for entry in self.folder.entries(self.path(), hidden=True)]
        for path in sorted(own, key=lambda path: (path == self.path(PARAMETERS), path)):
            self.folder.remove(path)

    def remove_below(self, path: str) -> None:
        """Remove all files of a folder below the stage's own, hidden ones too, and the folder."""
        for entry in self.folder.entries(path, hidden=True):
            self.folder.remove(entry.path)

    def sweep(self) -> None:
        """Remove the temporary files of workers that were killed; call it while no unit of the stage runs."""
        self.folder.sweep(owned_by=STATE)

    def _sweep_after_clients(self) -> None:
        """Remove the temporary files of clients that were killed as they wrote a table or a record.

        Only the folders of such files are listed, not those of the units' outputs: a finished stage does this too.
        """
        if not self.folder.is_local:
            return  # a store shows no file before it is whole
        beside_tables = {path.rpartition("/")[0] for path in self._published_paths()}
        self.folder.sweep_directly(sorted({"", self.path(), self.path(UNITS), self.path(BATCHES), *beside_tables}))

    def summarise(
        self, counts: Mapping[str, int], extra: Mapping[str, JSON] | None = None, *,
        failures: Iterable[Failure] | None = None,
    ) -> None:  # fmt: skip
        """Write the summary and the failures; files that would not change are left alone.

        `failures` are those of the run's outcome, units without a marker included; None: those of the markers.
        """
        if failures is None:
            failures = (failure for record in self.records() for failure in record.failures)
        listed = failures_jsonl(failures)
        write_if_changed(self.folder, self.path(FAILURES), listed)
        summary = dump_json({"stage": self.stage, "counts": dict(counts), **(extra or {})})
        self._of_stage.note_contents({self.path(FAILURES): listed, self.path(SUMMARY): summary, **self._parameters()})
        write_if_changed(self.folder, self.path(SUMMARY), summary)
        self._sweep_after_clients()

    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished run; None where there is none."""
        value = self._read_json(SUMMARY)
        return value if isinstance(value, dict) else None

    def fingerprint(self) -> str:
        """Digest of the parameters of the stage and the inputs of its units, which together determine its result."""
        parameters = without_relative(self.held_for() or {})
        return digest(parameters, sorted((r.key, *_version_of(r)) for r in self.records()))

    def _published_paths(self) -> list[str]:
        """The published files, without the stage's own records."""
        return [path for path in self.published() if not path.startswith(f"{STATE}/")]

    def _read_json(self, name: str) -> JSON:
        try:
            return json.loads(self.folder.read_bytes(self.path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}

    def _difference(self, compared: Comparison) -> str:
        if not isinstance(compared.held.get("params"), dict):
            return self._lost_parameters()
        told = (
            compared.describe()
            or f"it was written in format {compared.held.get('format')}, this version writes {FORMAT}"
        )
        return (
            f"{self.folder.url} holds results of stage {self.stage!r} with other parameters: {told}. "
            "Use the same parameters to go on, another output folder, or --overwrite to replace those results"
        )

    def _lost_parameters(self) -> str:
        remedy = (
            f"curator-dask verify {self.folder.url} --repair gives these results up, and the next run makes them anew"
        )
        if self._hash_of_parameters():
            remedy = "The very command that made them goes on with them, another one needs --overwrite to replace them"
        return (
            f"{self.folder.join(self.path(PARAMETERS))} is damaged or missing, so it is not known what the results of stage "
            f"{self.stage!r} were made with. {remedy}"
        )


def _parameter_in(held: Mapping[str, JSON], name: str) -> JSON:
    params = held.get("params")
    return params.get(name) if isinstance(params, dict) else None


def recorded_versions(folder: Folder) -> dict[str, str]:
    """Path → version of each file in a folder that a stage recorded as its own.

    A version says what a file was made from, not when. So a stage that reads the file is not redone because the file was
    copied or made again with the same result, and two runs leave the same bytes in their records.
    """
    versions: dict[str, str] = {}
    for stage in folder.below(STATE).subfolders():
        state = StageState(folder, stage)
        parameters = without_relative(state.held_for() or {})
        for record in state.records():
            version = digest(parameters, record.key, *_version_of(record))
            versions.update(dict.fromkeys(record.outputs, version))
    return versions


def _version_of(record: UnitRecord) -> list[JSON]:
    """What the outputs of a unit were made from. While a part of them is missing, it is another version than later."""
    missing = sorted([one.clip_id, one.reason] for one in record.failures if one.is_open)
    return [record.inputs, *([missing] if missing else [])]
