"""The work of the export stage on a worker: write one shard, or copy the media of one clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import BinaryIO, cast

from curator_dask.export.samples import ClipRecord
from curator_dask.export.shards import write_shard
from curator_dask.files import layout
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.export.spec import CopySpec, ShardSpec

BLOCK_BYTES = 1 << 20


def write_one_shard(spec: ShardSpec) -> UnitResult:
    """Stream the clips of one shard into its tar file."""

    def open_media(record: ClipRecord) -> BinaryIO:
        return cast(BinaryIO, spec.input.open(layout.clip_path(record.id)))

    with spec.output.writing(spec.plan.path) as temporary:
        result = write_shard(spec.plan, temporary, open_media)
    counts = {"clips": result.samples, "shard_bytes": result.num_bytes}
    return UnitResult({spec.plan.path: result.num_bytes}, counts, data={"shard": asdict(result)})


def copy_media(spec: CopySpec) -> UnitResult:
    """Copy the media file of one clip into the export."""
    path = layout.clip_path(spec.record.id)
    with (
        spec.input.open(path) as source,
        spec.output.writing(path) as temporary,
        temporary.open("wb") as target,
    ):
        for block in _blocks(cast(BinaryIO, source)):
            target.write(block)
    return UnitResult({path: spec.record.num_bytes}, {"clips": 1})


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block
