"""Reads an export back and lists its faults."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from curator_dask.data.decisions.read_decisions import has_decisions, ids_left_out
from curator_dask.errors import InputError, MediaError
from curator_dask.export.faults import Fault
from curator_dask.export.manifest import Manifest, read_manifest
from curator_dask.export.verify import verify_export
from curator_dask.files.folder import Folder
from curator_dask.files.layout import MANIFEST_NAME, REMOVE_LIST
from curator_dask.stages.export.clips.keep_list import check_keep_list, keep_list_batches


@dataclass(frozen=True)
class Verification:
    """The manifest of an export, and the faults that were found."""

    manifest: Manifest
    faults: tuple[Fault, ...]


def verify_dataset(
    path: str,
    *,
    duplicates_path: str | None = None,
    clips_opened_per_shard: int = 1,
    keep_list: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Verification:
    """Check every shard against the manifest. Raises InputError if there is no export at `path`.

    The check covers hashes, keys, members, JSON and counts.

    Args:
        path: folder or URL of an export of WebDataset shards.
        duplicates_path: the output of the identify stage; a clip that it removed or dropped is then a fault.
        clips_opened_per_shard: number of MP4 files per shard to open as videos.
        keep_list: the list of ids that was exported: its clips, and no others, must be in the shards.
        storage_options: fsspec options for all paths.
    """
    options = dict(storage_options or {})
    folder = Folder(path, options)
    if not folder.exists(MANIFEST_NAME):
        raise InputError(f"{path} holds no {MANIFEST_NAME}: it is not an export of WebDataset shards")
    manifest = read_manifest(folder.read_bytes(MANIFEST_NAME))
    removed = iter(()) if duplicates_path is None else _left_out(Folder(duplicates_path, options))
    if keep_list is not None:
        check_keep_list(keep_list, options)
    tars = [entry.path for entry in folder.entries() if entry.path.endswith(".tar")]
    faults = verify_export(
        manifest,
        lambda shard: cast(BinaryIO, folder.open(shard.path)),
        found=tars,
        removed=removed,
        check_media=check_mp4,
        media_per_shard=clips_opened_per_shard,
        listed=None if keep_list is None else _listed(keep_list, options),
    )
    return Verification(manifest, tuple(faults))


def _left_out(decisions: Folder) -> Iterator[str]:
    """The clips that were removed or dropped. Raises InputError if nothing was decided in the folder."""
    if not has_decisions(decisions) and not decisions.exists(REMOVE_LIST):
        raise InputError(f"{decisions.url} holds no {REMOVE_LIST}: give the output of identify")
    return (name for ids in ids_left_out(decisions) for name in ids.to_pylist())


def _listed(path: str, options: Mapping[str, Any]) -> Iterator[str]:
    return itertools.chain.from_iterable(keep_list_batches(path, options))


def check_mp4(path: Path) -> str | None:
    """The reason why a file is not a readable video; None if it is one."""
    from curator_dask.video.probe import probe_video

    try:
        probe_video(path)
    except MediaError as error:
        return str(error)
    return None
