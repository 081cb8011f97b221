"""The files beside the shards: ``manifest.json``, which describes every shard, and the index files of wids."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from curator_dask.errors import InputError
from curator_dask.export.samples import METADATA
from curator_dask.export.shards import ShardResult
from curator_dask.export.splits import is_split_name

KIND = "curator_dask-export"
VERSION = 1
KIND_OF_FIELD = re.compile(r"(str|int|float|bool)|list\[(str|int|float|bool)\]")
"""How the type of a field is written."""
_SHARD_NAME = re.compile(r"[0-9]{1,12}\.tar")


@dataclass(frozen=True, slots=True)
class Manifest:
    """An export as ``manifest.json`` records it."""

    name: str
    members: tuple[str, ...]
    """The extensions of every sample, in order: ("json", "mp4", ...)."""
    parameters: Mapping[str, Any]
    """The parameters of the plan: order, seed, splits, limits."""
    shards: tuple[ShardResult, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The fields of every ``.json`` member with their types, as `json_fields` gives them; empty if no table was carried."""

    @property
    def splits(self) -> dict[str, list[ShardResult]]:
        """The shards of each split, in order."""
        splits: dict[str, list[ShardResult]] = {}
        for shard in self.shards:
            splits.setdefault(shard.split, []).append(shard)
        return splits


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON; equal manifests give equal text."""
    return _dump(
        {
            "kind": KIND,
            "version": VERSION,
            "name": manifest.name,
            "members": list(manifest.members),
            **({"fields": dict(manifest.fields)} if manifest.fields else {}),
            "parameters": dict(manifest.parameters),
            "totals": shard_totals(manifest.shards),
            "splits": {split: shard_totals(shards) for split, shards in manifest.splits.items()},
            "shards": [asdict(shard) for shard in manifest.shards],
        }
    )


def read_manifest(text: str | bytes) -> Manifest:
    """The manifest in ``text``. Raises InputError if it is not one, or if it names files outside the export."""
    try:
        data = json.loads(text)
        if data["kind"] != KIND or data["version"] != VERSION:
            raise InputError(
                f"this is a manifest of kind {data['kind']!r}, version {data['version']!r}, not {KIND} {VERSION}"
            )
        manifest = Manifest(
            name=str(data["name"]),
            members=tuple(map(str, data["members"])),
            parameters=dict(data["parameters"]),
            shards=tuple(_read_shard(line) for line in data["shards"]),
            fields=_read_fields(data.get("fields", {})),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"this is not the manifest of an export ({type(error).__name__}: {error})") from error
    if data.get("totals") != shard_totals(manifest.shards):
        raise InputError(f"the totals of the manifest, {data.get('totals')}, are not the sums of its shards")
    return manifest


def wids_indexes(manifest: Manifest) -> dict[str, str]:
    """The text of each index file by its name: ``index.json`` for the first split, ``index-{split}.json`` for each other one.

    One index never spans splits: a training loader must not read validation clips, and wids with a ``cache_dir`` keeps
    shards by their last name alone, so that ``train/000000.tar`` and ``val/000000.tar`` would be taken for one file.
    """
    indexes: dict[str, str] = {}
    for split, shards in manifest.splits.items():
        indexes[f"index-{split}.json" if indexes else "index.json"] = _dump(
            {
                "__kind__": "wids-shard-index-v1",
                "wids_version": 1,
                "name": f"{manifest.name}-{split}",
                "shardlist": [
                    {"url": shard.path, "md5sum": shard.md5, "nsamples": shard.samples, "filesize": shard.num_bytes}
                    for shard in shards
                ],
            }
        )
    return indexes


def energon_command(folder: str, splits: Sequence[str] = ("train",)) -> str:
    """The shell command that prepares an export for Megatron-Energon; it writes that loader's index into ``folder``."""
    if len(splits) == 1:
        parts = ["--split-ratio", "1,0,0"]
    else:
        parts = [word for split in splits for word in ("--split-parts", f"{split}:{split}/.*")]
    if folder.startswith("-"):
        folder = f"./{folder}"  # else it would be read as an option
    return shlex.join(["energon", "prepare", folder, "--non-interactive", *parts, "--sample-type", "CrudeWebdataset"])


def shard_totals(shards: Sequence[ShardResult]) -> dict[str, int]:
    """The numbers of shards, samples and bytes."""
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "num_bytes": sum(shard.num_bytes for shard in shards),
    }


def _read_fields(fields: Any) -> dict[str, Any]:
    """The fields of JSON members; an object of fields is one level deep."""
    carried = fields.get(METADATA, {})
    for name, kind in (*fields.items(), *carried.items()):
        if kind is not carried and not (isinstance(kind, str) and KIND_OF_FIELD.fullmatch(kind)):
            raise InputError(f"the manifest says that field {name!r} of the JSON is {kind!r}, which is no type")
    return dict(fields)


def _read_shard(line: Mapping[str, Any]) -> ShardResult:
    for one in fields(ShardResult):
        kind = int if one.name in ("samples", "num_bytes") else str
        if type(line[one.name]) is not kind:
            raise InputError(f"the manifest's {one.name} of a shard is {line[one.name]!r}, which is no {kind.__name__}")
    shard = ShardResult(**{one.name: line[one.name] for one in fields(ShardResult)})
    if not is_split_name(shard.split) or not _SHARD_NAME.fullmatch(shard.name):
        raise InputError(f"the manifest names a shard {shard.path!r}, which is not SPLIT/NUMBER.tar")
    return shard


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"
