"""The previews that an export is to hold: those that are there already, and those that are made for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_dask.export.planned.columns import PREVIEW_BYTES, TOLD
from curator_dask.files.buckets.buckets import Buckets
from curator_dask.files.buckets.meeting import gather, read_bucket, rows_of
from curator_dask.files.content_hash import Written
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import Failure
from curator_dask.stages.base import RunContext
from curator_dask.stages.export.clips.sources import ROWS_AT_ONCE
from curator_dask.stages.previews.stage import PreviewsStage, ShownClip, previews_there

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ExportedPreviews:
    """The previews of the clips to export."""

    rows: Buckets | None
    """``id``, `PREVIEW_BYTES` and `TOLD`, in the buckets of the clips. In a dry run only of those that are there."""
    failures: tuple[Failure, ...] = ()
    """Of clips without a preview. They are not exported, as all samples must have the same members."""
    num_run: int = 0
    num_skipped: int = 0

    def add_to(self, clips: pa.Table, number: int) -> pa.Table:
        """The clips of one bucket with the bytes of their previews, and what a shard depends on beside their records."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = read_bucket(self.rows, number)
        known = _table([], []) if known is None else known
        at = rows_of(clips["id"], known)
        for name, missing in ((PREVIEW_BYTES, pa.scalar(0, pa.int64())), (TOLD, _told(0))):
            clips = clips.append_column(name, pc.fill_null(known[name].take(at), missing))
        return clips


def _told(size: int) -> str:
    return f"{int(size)} {size.content_hash if isinstance(size, Written) else ''}"


@dataclass(frozen=True)
class _Shown:
    """Clips in buckets, one after the other, as the previews stage takes them."""

    clips: Buckets

    def __iter__(self) -> Iterator[ShownClip]:
        for table in self.clips.tables():
            columns = (table[name].to_pylist() for name in ("id", "num_bytes", "start_s", "end_s"))
            for clip, num_bytes, start_s, end_s in zip(*columns, strict=True):
                yield ShownClip(clip, num_bytes, end_s - start_s)


def make_previews(folder: Folder, clips: Buckets, seed: int, scratch: Path, context: RunContext) -> ExportedPreviews:
    """Make the previews of the clips of the output `folder` that are not there yet. The clips lie in buckets by their places."""
    result = PreviewsStage(folder.url, _Shown(clips), folder.storage_options).run(context=context)
    rows = gather(_there(folder), scratch, clips.num_buckets, seed)
    if context.dry_run:
        return ExportedPreviews(rows, (), result.num_run, result.num_skipped)
    why = {failure.source: failure for failure in result.failures}
    failures = [_failure(clip, source, why.get(f"clip {clip}")) for clip, source in _without_preview(clips, rows)]
    return ExportedPreviews(rows, tuple(failures), result.num_run, result.num_skipped)


def _there(folder: Folder) -> Iterator[pa.Table]:
    found = previews_there(folder)
    while some := list(itertools.islice(found, ROWS_AT_ONCE)):
        yield _table([clip for clip, _ in some], [size for _, size in some])


def _table(clips: list[str], sizes: list[int]) -> pa.Table:
    import pyarrow as pa

    columns: list[Any] = [
        pa.array(clips, pa.large_string()), pa.array(map(int, sizes), pa.int64()), pa.array(map(_told, sizes), pa.string())
    ]  # fmt: skip
    return pa.table(columns, names=["id", PREVIEW_BYTES, TOLD])


def _without_preview(clips: Buckets, rows: Buckets | None) -> Iterator[tuple[str, str]]:
    """The ids of the clips that have none, and their videos."""
    for number in range(clips.num_buckets):
        table, known = clips.read(number), read_bucket(rows, number)
        left = table.filter(rows_of(table["id"], _table([], []) if known is None else known).is_null())
        yield from zip(left["id"].to_pylist(), left["source_video"].to_pylist(), strict=True)


def _failure(clip: str, source: str, why: Failure | None) -> Failure:
    reason, message = (why.reason, why.message) if why is not None else ("no-preview", "it has no preview")
    return Failure("export", source, reason, message, clip)
