"""Read an export and list its faults. Shards are not trusted: no file is extracted under a name from a shard."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from curator_dask.errors import InputError
from curator_dask.export.faults import MAX_FAULTS, Fault, OtherClip, ShardReading
from curator_dask.export.manifest import Manifest
from curator_dask.export.samples import CLIP_SCHEMA, QUALITY_SCHEMA, is_safe_key, member_key
from curator_dask.export.shards import ShardResult, keys_digest
from curator_dask.export.ustar import Member, read_members
from curator_dask.export.verify_keys import ComparedKeys, key_rows, number_of_buckets
from curator_dask.files.names import counted
from curator_dask.files.temporary.temporary_folders import temporary_folder

if TYPE_CHECKING:
    import pyarrow as pa

CheckMedia = Callable[[Path], str | None]
"""A function that opens the MP4 at a path and returns its fault, or None."""

_MAX_JSON_BYTES = 1 << 20
_MEMBER_NAME = re.compile(r"([^./]+)\.([a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class _Rules:
    """What every sample of an export must be like."""

    members: tuple[str, ...]
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
    faults = [] if found is None else listing_faults(manifest, found)
    readings = _Readings(manifest, open_shard, check_media, media_per_shard)
    with temporary_folder() as scratch:
        num_samples = sum(shard.samples for shard in manifest.shards)
        compared = ComparedKeys(scratch, number_of_buckets(num_samples))
        compared.compare(readings.key_rows(), readings.paths, removed, listed)
    of_shards = [fault for number in range(len(readings.paths)) for fault in readings.faults[number]]
    told = (compared.removed.of_all(), compared.doubled.of_all(), compared.unlisted.of_all())
    return [*faults, *readings.not_read, *of_shards, *itertools.chain(*told)]


@dataclass
class _Readings:
    """Reads the shards of an export, and keeps their faults."""

    manifest: Manifest
    open_shard: Callable[[ShardResult], BinaryIO]
    check_media: CheckMedia | None
    media_per_shard: int
    paths: list[str] = field(default_factory=list)
    """Those of the shards that could be read."""
    faults: list[list[Fault]] = field(default_factory=list)
    """Of each of these shards."""
    not_read: list[Fault] = field(default_factory=list)

    def key_rows(self) -> Iterator[pa.Table]:
        """What `key_rows` gives for each shard, as it is read."""
        for shard in self.manifest.shards:
            try:
                with self.open_shard(shard) as stream:
                    reading = verify_shard(
                        stream,
                        shard,
                        self.manifest.members,
                        self.check_media,
                        self.media_per_shard,
                        self.manifest.fields,
                    )
            except OSError as error:
                self.not_read.append(Fault(shard.path, "", f"cannot be read: {error}"))
                continue
            yield key_rows(reading, len(self.paths))
            self.paths.append(shard.path)
            self.faults.append(reading.faults)


def listing_faults(manifest: Manifest, found: Iterable[str]) -> list[Fault]:
    """Faults of tars that the manifest does not name (a loader would read them), and of gaps in the numbering."""
    known = {shard.path for shard in manifest.shards}
    faults = [Fault(path, "", "is not in the manifest") for path in sorted(set(found) - known)]
    for split, shards in manifest.splits.items():
        if [int(shard.name.removesuffix(".tar")) for shard in shards] != list(range(len(shards))):
            faults.append(Fault(split, "", "the shards are not numbered 0, 1, 2, ... in the manifest"))
    return faults


def verify_shard(
    stream: BinaryIO,
    expected: ShardResult,
    members: tuple[str, ...],
    check_media: CheckMedia | None = None,
    media_per_shard: int = 1,
    fields: Mapping[str, Any] | None = None,
) -> ShardReading:
    """Reads one shard in one pass and in bounded memory.

    ``fields`` are those of the JSON by the manifest (`Manifest.fields`).
    """
    reading = ShardReading(expected.path)
    source = _HashingReader(stream)
    rules = _Rules(members, fields or {})
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
    if "json" in sample.extensions and (what := _clip_fault(sample, reading, rules)):
        reading.fault(sample.key, what)


def _clip_fault(sample: _Sample, reading: ShardReading, rules: _Rules) -> str | None:
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
        reading.other_clips.append(OtherClip(len(reading.keys) - 1, key, _show(clip["id"])))
        return f"the JSON is of another clip: {_show(clip['id'])}"
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
        reading.fault("", f"holds {counted(len(reading.keys), 'samples')}, the manifest says {expected.samples}")
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
