"""What a worker of the export stage is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curator_dask.export.plan import ShardPlan
from curator_dask.export.samples import ClipRecord
from curator_dask.files.folder import Folder


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """One shard to write, from the clips of `input`."""

    input: Folder
    output: Folder
    plan: ShardPlan
    hashes: Mapping[str, str]
    """Clip id → hash of its media as the split stage recorded it; a clip of an earlier version has none."""
    previews: Mapping[str, int] | None = None
    """Clip id → bytes of its preview, for all clips of the shard; None: samples hold no previews."""


@dataclass(frozen=True, slots=True)
class CopySpec:
    """One clip whose media is copied from `input` to the same path in `output`."""

    input: Folder
    output: Folder
    record: ClipRecord
    content_hash: str = ""
    with_preview: bool = False
