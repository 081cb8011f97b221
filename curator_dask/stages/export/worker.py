"""The work of the export stage on a worker: write one shard, or copy the media of some clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from curator_dask.data.tables import read_parquet
from curator_dask.errors import MediaError
from curator_dask.export.plan import ShardPlan
from curator_dask.export.planned.columns import CONTENT_HASH, PREVIEW_BYTES, records_of
from curator_dask.export.planned.copies import read_copies
from curator_dask.export.samples import ClipRecord, caption_bytes
from curator_dask.export.shards import UNREADABLE, ExtraMembers, write_shard
from curator_dask.files import layout
from curator_dask.files.content_hash import HASHES, Written
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure, UnitResult
from curator_dask.runtime.units import reason_and_message
from curator_dask.stages.export.spec import CopySpec, ShardSpec

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 20


def write_one_shard(spec: ShardSpec) -> UnitResult:
    """Stream the clips of one shard into its tar file."""
    rows, opened = read_parquet(spec.output, spec.plan_path), list[ClipRecord]()
    plan = ShardPlan(spec.split, spec.name, tuple(records_of(rows)), spec.num_bytes)
    hashes = _by_id(rows, CONTENT_HASH)

    def open_media(record: ClipRecord) -> BinaryIO:
        opened.append(record)
        return cast(BinaryIO, _open(spec.input, record.id, hashes.get(record.id) or ""))

    try:
        with spec.output.writing(plan.path) as temporary:
            result = write_shard(plan, temporary, open_media, _extras(spec.input, plan, _by_id(rows, PREVIEW_BYTES)))
    except MediaError as error:  # the stage plans the shards anew without this clip
        reason = error.reason if error.reason == UNREADABLE else "media"
        failure = Failure("export", opened[-1].source_video, reason, str(error), opened[-1].id)
        return UnitResult(failures=(failure,), final=False)
    counts = {"clips": result.samples, "shard_bytes": result.num_bytes}
    size = Written(result.num_bytes, f"sha256:{result.sha256}")
    return UnitResult({plan.path: size}, counts, data={"shard": asdict(result)})


def _by_id(rows: pa.Table, name: str) -> dict[str, Any]:
    """A column by the ids of the clips; empty where there is no such column."""
    if name not in rows.column_names:
        return {}
    return dict(zip(rows["id"].to_pylist(), rows[name].to_pylist(), strict=True))


def _extras(folder: Folder, plan: ShardPlan, previews: Mapping[str, int]) -> ExtraMembers:
    """The members of a sample besides its JSON and its media."""
    metadata = plan.samples[0].metadata
    extras: dict[str, Callable[[ClipRecord], bytes]] = {}
    if metadata is not None and metadata.caption is not None:
        extras["txt"] = caption_bytes
    if previews:
        extras["webp"] = lambda record: read_preview(folder, record.id, previews[record.id])
    return extras


def read_preview(folder: Folder, clip_id: str, num_bytes: int) -> bytes:
    """The preview of a clip. Raises MediaError if it is not as it was planned."""
    try:
        data = folder.read_bytes(layout.preview_path(clip_id))
    except FileNotFoundError:
        data = b""
    if len(data) != num_bytes:
        message = f"clip {clip_id}: its preview has {len(data)} bytes instead of {num_bytes}: run again to make it anew"
        raise MediaError(UNREADABLE, message)
    return data


def copy_clips(spec: CopySpec) -> UnitResult:
    """Copy the media files of some clips, and their previews where these are asked for, into the export."""
    outputs, failures, num_copied = dict[str, int](), list[Failure](), 0
    for row in read_copies(spec.output, spec.plan_path, spec.number):
        try:
            outputs |= _copy_clip(spec, row["id"], row["num_bytes"], row.get(CONTENT_HASH) or "")
            num_copied += 1
        except Exception as error:  # told with its reason: one clip that cannot be copied must not stop the others
            name = printable(row["id"])
            failures.append(Failure("export", name, *reason_and_message(error, f"copy of clip {name}"), name))
    final = all(failure.is_open for failure in failures)  # the next run tries in any case
    return UnitResult(outputs, {"clips": num_copied}, tuple(failures), final=final)


def _copy_clip(spec: CopySpec, clip_id: str, num_bytes: int, content_hash: str) -> dict[str, int]:
    """Copy the files of one clip; returns their sizes."""
    path = layout.clip_path(clip_id)
    with (
        _open(spec.input, clip_id, content_hash) as source,
        spec.output.writing(path) as temporary,
        temporary.open("wb") as target,
    ):
        for block in _blocks(source):
            target.write(block)
    outputs: dict[str, int] = {path: Written(num_bytes, content_hash)}
    if spec.with_previews:
        preview = layout.preview_path(clip_id)
        outputs[preview] = spec.output.write_bytes(preview, spec.input.read_bytes(preview))
    return outputs


def _open(folder: Folder, clip_id: str, content_hash: str) -> Any:
    """The media of a clip, compared with its hash, if there is one, as it is read."""
    stream = folder.open(layout.clip_path(clip_id))
    return ComparingReader(stream, clip_id, content_hash) if content_hash else stream


class ComparingReader:
    """Reads a file, and raises MediaError at its end if its bytes are not those of the record."""

    def __init__(self, stream: IO[bytes], clip_id: str, content_hash: str) -> None:
        self._stream, self._clip_id, self._expected = stream, clip_id, content_hash
        self._name = content_hash.partition(":")[0]
        self._digest = HASHES[self._name]()

    def __enter__(self) -> ComparingReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def read(self, num_bytes: int) -> bytes:
        data = self._stream.read(num_bytes)
        self._digest.update(data)
        if not data and f"{self._name}:{self._digest.hexdigest()}" != self._expected:
            raise MediaError(
                "media-changed",
                f"clip {self._clip_id}: its media file has been changed or damaged since it was written. "
                "curator-dask verify OUT --repair, then run again",
            )
        return data


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block
