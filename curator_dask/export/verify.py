"""Read an export and list its faults. Shards are not trusted: no file is extracted under a name from a shard."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from curator_dask.errors import InputError
from curator_dask.export.manifest import Manifest
from curator_dask.export.samples import CLIP_SCHEMA, QUALITY_SCHEMA, is_safe_key, member_key
from curator_dask.export.shards import ShardResult, keys_digest
from curator_dask.export.ustar import Member, read_members
from curator_dask.files.temporary.temporary_folders import temporary_folder

CheckMedia = Callable[[Path], str | None]
"""A function that opens the MP4 at a path and returns its fault, or None."""

MAX_FAULTS = 100
"""Reading a shard stops after so many faults: a hostile one could cause millions."""

_MAX_JSON_BYTES = 1 << 20
_MEMBER_NAME = re.compile(r"([^./]+)\.([a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of an export."""

    shard: str
    """The shard's path in the export, or a split's name."""
    key: str
    """The sample's key; "" if the fault concerns the whole shard."""
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.shard, self.key, self.what) if part)


@dataclass(slots=True)
class ShardReading:
    """The keys and faults found in one shard."""

    shard: str
    keys: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, key: str, what: str) -> None:
        self.faults.append(Fault(self.shard, key, what))


@dataclass(frozen=True, slots=True)
class _Rules:
    """What every sample of an export must be like."""

    members: tuple[str, ...]
    removed: Collection[str]
    fields: Mapping[str, Any]
    """The fields of the JSON by the manifest; empty: those that every export has."""

    def fields_of(self, clip: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields that the JSON of a clip must have."""
        if self.fields:
            return self.fields
        schema = {**CLIP_SCHEMA, **(QUALITY_SCHEMA if len(clip) > len(CLIP_SCHEMA) else {})}
        return {name: kind.__name__ for name, kind in schema.items()}


@dataclass(slots=True)
class _Sample:
    key: str
    extensions: list[str] = field(default_factory=list)
    clip: Any = None
    media_bytes: int = -1


def verify_export(
    manifest: Manifest,
    open_shard: Callable[[ShardResult], BinaryIO],
    *,
    found: Iterable[str] | None = None,
    removed: Iterable[str] = (),
    check_media: CheckMedia | None = None,
    media_per_shard: int = 1,
    listed: Iterable[str] | None = None,
) -> list[Fault]:
    """All faults of an export.

    ``found`` are the tars in the folder ("train/000000.tar"), to compare with the manifest; ``removed`` are the ids
    that must not occur; ``listed``, if given, are those that must, and no others; ``check_media`` is called for
    ``media_per_shard`` clips of each shard, evenly spaced.
    """
    keys = removed_keys(removed)
    faults = [] if found is None else listing_faults(manifest, found)
    readings = []
    for shard in manifest.shards:
        try:
            with open_shard(shard) as stream:
                readings.append(
                    verify_shard(stream, shard, manifest.members, keys, check_media, media_per_shard, manifest.fields)
                )
        except OSError as error:
            faults.append(Fault(shard.path, "", f"cannot be read: {error}"))
    unlisted = [] if listed is None else unlisted_keys(readings, listed)
    return [*faults, *(fault for reading in readings for fault in reading.faults), *doubled_keys(readings), *unlisted]


def removed_keys(removed: Iterable[str]) -> frozenset[str]:
    """The keys of the clips on a removal list."""
    return frozenset(map(member_key, removed))


def listing_faults(manifest: Manifest, found: Iterable[str]) -> list[Fault]:
    """Faults of tars that the manifest does not name (a loader would read them), and of gaps in the numbering."""
    known = {shard.path for shard in manifest.shards}
    faults = [Fault(path, "", "is not in the manifest") for path in sorted(set(found) - known)]
    for split, shards in manifest.splits.items():
        if [int(shard.name.removesuffix(".tar")) for shard in shards] != list(range(len(shards))):
            faults.append(Fault(split, "", "the shards are not numbered 0, 1, 2, ... in the manifest"))
    return faults


def doubled_keys(readings: Iterable[ShardReading]) -> list[Fault]:
    """Faults of keys that occur in more than one shard."""
    first: dict[str, str] = {}
    faults: list[Fault] = []
    for reading in readings:
        doubled = [key for key in dict.fromkeys(reading.keys) if first.setdefault(key, reading.shard) != reading.shard]
        faults += [Fault(reading.shard, key, f"the key is also in {first[key]}") for key in doubled]
    return faults


def unlisted_keys(readings: Iterable[ShardReading], listed: Iterable[str]) -> list[Fault]:
    """Faults of clips that are not on the list of the export, and of clips on it that no shard holds."""
    keys, found = {member_key(clip_id): clip_id for clip_id in listed}, set()
    faults: list[Fault] = []
    for reading in readings:
        faults += [Fault(reading.shard, key, "the clip is not on the list") for key in reading.keys if key not in keys]
        found.update(reading.keys)
    return faults + [
        Fault("", key, "the clip is on the list, and no shard holds it") for key in sorted(keys.keys() - found)
    ]


def verify_shard(
    stream: BinaryIO,
    expected: ShardResult,
    members: tuple[str, ...],
    removed: Collection[str] = frozenset(),
    check_media: CheckMedia | None = None,
    media_per_shard: int = 1,
    fields: Mapping[str, Any] | None = None,
) -> ShardReading:
    """Reads one shard in one pass and in bounded memory; ``removed`` are keys (`removed_keys`).

    ``fields`` are those of the JSON by the manifest (`Manifest.fields`).
    """
    reading = ShardReading(expected.path)
    source = _HashingReader(stream)
    rules = _Rules(members, removed, fields or {})
    try:
        _read_samples(source, reading, rules, _MediaProbe.spread(check_media, media_per_shard, expected.samples))
    except InputError as error:
        reading.fault("", str(error))
    source.drain()
    _compare(reading, expected, source)
    return reading


def _read_samples(source: _HashingReader, reading: ShardReading, rules: _Rules, probe: _MediaProbe) -> None:
    sample: _Sample | None = None
    seen: set[str] = set()
    for member in read_members(source):
        if len(reading.faults) >= MAX_FAULTS:
            raise InputError(f"given up after {MAX_FAULTS} faults")
        match = _MEMBER_NAME.fullmatch(member.name)
        if member.kind or match is None or not is_safe_key(match[1]):
            reading.fault("", f"member {_show(member.name)} is {member.kind or 'not named KEY.EXTENSION'}")
            continue
        if sample is None or sample.key != match[1]:
            _close(sample, reading, rules)
            sample = _Sample(match[1])
            if sample.key in seen:
                reading.fault(sample.key, "the key occurs twice in the shard, or its members are apart")
            seen.add(sample.key)
            reading.keys.append(sample.key)
        _read_member(member, match[2], sample, reading, probe)
    _close(sample, reading, rules)


def _read_member(member: Member, extension: str, sample: _Sample, reading: ShardReading, probe: _MediaProbe) -> None:
    sample.extensions.append(extension)
    if extension == "json":
        sample.clip = _read_json(member)
    elif extension == "txt" and not _is_text(member):
        reading.fault(sample.key, f"the caption is no UTF-8 text of at most {_MAX_JSON_BYTES} bytes")
    elif extension == "mp4":
        sample.media_bytes = member.num_bytes
        if what := probe.check(member, len(reading.keys) - 1):
            reading.fault(sample.key, f"the media cannot be read: {what}")


def _read_json(member: Member) -> Any:
    if member.num_bytes > _MAX_JSON_BYTES:
        return None
    try:
        return json.loads(b"".join(member.chunks))
    except (ValueError, RecursionError):
        return None


def _is_text(member: Member) -> bool:
    try:
        if member.num_bytes <= _MAX_JSON_BYTES:
            b"".join(member.chunks).decode("utf-8")
            return True
    except UnicodeDecodeError:
        pass
    return False


def _close(sample: _Sample | None, reading: ShardReading, rules: _Rules) -> None:
    """Adds the faults of a sample when all of its members have been read."""
    if sample is None:
        return
    if tuple(sample.extensions) != rules.members:
        found = _show(", ".join(sample.extensions))
        reading.fault(sample.key, f"the members are {found}, not {', '.join(rules.members)}")
    if sample.key in rules.removed:
        reading.fault(sample.key, "the clip is on the removal list")
    if "json" in sample.extensions and (what := _clip_fault(sample, rules)):
        reading.fault(sample.key, what)


def _clip_fault(sample: _Sample, rules: _Rules) -> str | None:
    clip = sample.clip
    if not isinstance(clip, dict):
        return "the JSON is not an object"
    schema = rules.fields_of(clip)
    if list(clip) != list(schema):
        return f"the JSON has other fields than the schema: {_show(', '.join(clip))}"
    for name, kind in schema.items():
        if what := _field_fault(name, clip[name], kind):
            return what
    if (key := member_key(clip["id"])) != sample.key:
        listed = ", which is on the removal list" if key in rules.removed else ""
        return f"the JSON is of another clip: {_show(clip['id'])}{listed}"
    if sample.media_bytes not in (-1, clip["num_bytes"]):
        return f"the media has {sample.media_bytes} bytes, the JSON says {clip['num_bytes']}"
    return None


def _field_fault(name: str, value: Any, kind: Any) -> str | None:
    """The fault of one field of the JSON; `kind` is its type as text, or those of all columns of a table."""
    if isinstance(kind, str):
        return None if type(value).__name__ == kind else f"{name} in the JSON is {_show(repr(value))}, not {kind}"
    if not isinstance(value, dict) or list(value) != list(kind):
        return f"{name} in the JSON has other columns than the manifest says: {_show(repr(value))}"
    for column, one in kind.items():
        if not _may_be(value[column], one):
            return f"{name} in the JSON: {_show(column)} is {_show(repr(value[column]))}, not {one}"
    return None


def _may_be(value: Any, kind: str) -> bool:
    """Whether a value of a table is of its kind, ``int`` or ``list[int]``; each may be null."""
    if value is None or type(value).__name__ == kind:
        return True
    inner = kind.removeprefix("list[").removesuffix("]")
    return inner != kind and isinstance(value, list) and all(_may_be(one, inner) for one in value)


def _compare(reading: ShardReading, expected: ShardResult, source: _HashingReader) -> None:
    """Compares the shard as a whole with the manifest."""
    if source.num_bytes != expected.num_bytes:
        reading.fault("", f"has {source.num_bytes} bytes, the manifest says {expected.num_bytes}")
    if source.sha256.hexdigest() != expected.sha256:
        reading.fault("", f"sha256 is {source.sha256.hexdigest()}, the manifest says {_show(expected.sha256)}")
    if len(reading.keys) != expected.samples:
        reading.fault("", f"holds {len(reading.keys)} samples, the manifest says {expected.samples}")
    if keys_digest(reading.keys) != expected.keys_sha256:
        reading.fault("", "the keys are not those of the manifest, in this order")


def _show(text: str) -> str:
    """Text from a shard for a message: printable, on one line, at most 120 characters."""
    return ascii(text[:120])


class _HashingReader:
    """Reads a stream, and counts and digests its bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.num_bytes = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.num_bytes += len(data)
        self.sha256.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


@dataclass(frozen=True, slots=True)
class _MediaProbe:
    """The samples of a shard whose media are checked, and the function that checks them."""

    check_media: CheckMedia | None
    indices: frozenset[int]

    @classmethod
    def spread(cls, check_media: CheckMedia | None, wanted: int, samples: int) -> _MediaProbe:
        # Evenly spaced: the same on every run, and not the first ones only.
        return cls(check_media, frozenset(part * samples // wanted for part in range(wanted)))

    def check(self, member: Member, index: int) -> str | None:
        if self.check_media is None or index not in self.indices:
            return None
        with temporary_folder() as folder:
            path = folder / "clip.mp4"
            with path.open("wb") as stream:
                stream.writelines(member.chunks)
            return self.check_media(path)
