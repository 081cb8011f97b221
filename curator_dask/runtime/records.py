"""The records of a run: one per unit, failures with their reasons, and counts that add up."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from curator_dask.files.content_hash import Written
from curator_dask.runtime.failing.final_reasons import is_final

JSON = Any


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that failed, and why."""

    stage: str
    source: str
    """The video, clip or file that it happened to."""
    reason: str
    """A short code that never changes, to group failures by."""
    message: str
    clip_id: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it says something of the machine, and so may end well when it is tried again."""
        return not is_final(self.reason)


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What the work on one unit returns on a worker. The runtime adds the unit's key and inputs: see `UnitRecord`."""

    outputs: dict[str, int] = field(default_factory=dict)
    """Files written: path relative to the stage's folder → bytes."""
    counts: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    data: dict[str, JSON] = field(default_factory=dict)
    """What the stage needs to know of this unit later (for instance rows of the clip index)."""
    final: bool = True
    """False: the next run tries this unit again, whatever the reasons of its failures are, and no marker is written."""


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """The marker of one finished unit (a video, a file of vectors, a cluster, a shard): its result and its inputs."""

    key: str
    inputs: str
    """Digest of what the unit was made from: another digest means that the unit is stale."""
    outputs: dict[str, int] = field(default_factory=dict)
    """Files written: path relative to the stage's folder → bytes, as `Written` with the hash where it is known."""
    counts: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    data: dict[str, JSON] = field(default_factory=dict)
    """What the stage needs to know of this unit later (for instance rows of the clip index)."""
    final: bool = True

    @property
    def has_open_failures(self) -> bool:
        return any(failure.is_open for failure in self.failures)

    @property
    def is_done(self) -> bool:
        """Whether no later run has to try the unit again."""
        return self.final and not self.has_open_failures

    @staticmethod
    def of(key: str, inputs: str, result: UnitResult) -> UnitRecord:
        """The record of a unit with this key and these inputs."""
        return UnitRecord(key, inputs, result.outputs, result.counts, result.failures, result.data, result.final)

    def to_json(self) -> bytes:
        outputs = {path: int(size) for path, size in self.outputs.items()}
        return seal({"key": self.key, **self.fields(), "outputs": outputs, "hashes": hashes_of(self.outputs)})

    def fields(self) -> dict[str, JSON]:
        """All but the key, for a line of a batch. Outputs are path → bytes, or path → [bytes, hash]."""
        return {
            "counts": self.counts,
            "data": self.data,
            "failures": [asdict(failure) for failure in self.failures],
            "final": self.final,
            "inputs": self.inputs,
            "outputs": {path: _with_hash(size) for path, size in self.outputs.items()},
        }

    @staticmethod
    def from_fields(key: str, fields: Mapping[str, JSON]) -> UnitRecord:
        """What `fields` gave. Raises ValueError for other fields, of a later version maybe."""
        try:
            sizes = fields["outputs"].items()
            outputs = {path: Written(*size) if isinstance(size, list) else size for path, size in sizes}
            failures = tuple(Failure(**failure) for failure in fields["failures"])
            return UnitRecord(
                key, fields["inputs"], outputs, fields["counts"], failures, fields["data"], fields["final"]
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a unit record: {error!r}") from error

    @staticmethod
    def from_json(text: bytes) -> UnitRecord:
        """Raises ValueError for bytes that are no record (a damaged disk, another program's file)."""
        try:
            raw = unseal(text)
            raw["failures"] = tuple(Failure(**failure) for failure in raw["failures"])
            raw["outputs"] = with_hashes(raw.get("outputs", {}), raw.pop("hashes", {}))
            return UnitRecord(**raw)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a unit record: {error}") from error


@dataclass(slots=True)
class FoundUnit:
    """What a survey needs of a marker: no data, and no hashes. It is cheap to make, as a stage may have a million of them."""

    key: str
    inputs: str
    outputs: Mapping[str, int]
    counts: Mapping[str, int]
    failures: tuple[Failure, ...]
    is_done: bool
    """Whether no later run has to try the unit again, as far as the marker tells."""

    @staticmethod
    def of(record: UnitRecord) -> FoundUnit:
        return FoundUnit(record.key, record.inputs, record.outputs, record.counts, record.failures, record.is_done)

    @staticmethod
    def from_json(text: bytes) -> FoundUnit:
        """As `UnitRecord.from_json`."""
        return FoundUnit.of(UnitRecord.from_json(text))

    @staticmethod
    def from_fields(key: str, fields: Mapping[str, JSON]) -> FoundUnit:
        """As `UnitRecord.from_fields`, in a third of the time where nothing failed."""
        try:
            if fields["failures"] or "data" not in fields:
                return FoundUnit.of(UnitRecord.from_fields(key, fields))
            outputs = fields["outputs"]
            for path, size in outputs.items():
                if type(size) is list:
                    outputs[path] = size[0]
            return FoundUnit(key, fields["inputs"], outputs, fields["counts"], (), fields["final"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"not a unit record: {error!r}") from error


def dump_json(value: JSON) -> bytes:
    """The same bytes for the same value: sorted keys, two spaces, pure ASCII (names that are no valid UTF-8 become escapes)."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _with_hash(size: int) -> int | list[JSON]:
    return [int(size), size.content_hash] if isinstance(size, Written) and size.content_hash else int(size)


def hashes_of(files: Mapping[str, int]) -> dict[str, str]:
    """Path → hash of content, of the files whose hashes are known."""
    return {path: size.content_hash for path, size in files.items() if isinstance(size, Written) and size.content_hash}


def with_hashes(sizes: Mapping[str, int], hashes: Mapping[str, str]) -> dict[str, int]:
    """The sizes with the hashes that are known: `hashes_of`, backwards."""
    return {path: Written(size, hashes[path]) if path in hashes else size for path, size in sizes.items()}


_NO_SEAL = b'"seal": ""'


def seal(value: Mapping[str, JSON]) -> bytes:
    """A JSON object with a hash of its own bytes, so that each changed byte is noticed. Its keys sort before ``seal``."""
    text = dump_json({**value, "seal": ""})
    before, _, after = text.rpartition(_NO_SEAL)
    return before + b'"seal": "%s"' % _seal_of(text) + after


def unseal(text: bytes) -> dict[str, JSON]:
    """The object that was sealed; one without a seal, as earlier versions wrote it, is taken as it is.

    Raises ValueError if it is no JSON object or was changed.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    found = value.pop("seal", None)
    if found is not None:
        before, _, after = text.rpartition(b'"seal": "%s"' % str(found).encode("utf-8", "replace"))
        if _seal_of(before + _NO_SEAL + after) != str(found).encode("utf-8", "replace"):
            raise ValueError("its bytes are not those that were written")
    return value


def _seal_of(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode("ascii")


def digest(*parts: JSON) -> str:
    """A digest of 32 hex digits; the values must be JSON values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def failures_jsonl(failures: Iterable[Failure]) -> bytes:
    """One JSON object per line, sorted, so that the bytes do not depend on the order of completion."""
    lines = [
        json.dumps({**asdict(failure), "open": failure.is_open}, sort_keys=True, ensure_ascii=True)
        for failure in failures
    ]
    return "".join(f"{line}\n" for line in sorted(lines)).encode("ascii")
