"""The previews that an export is to hold: those that are there already, and those that are made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curator_dask.export.planned.columns import PREVIEW_BYTES, TOLD
from curator_dask.files.folder import Folder, Written
from curator_dask.runtime.records import Failure
from curator_dask.stages.base import RunContext
from curator_dask.stages.previews.stage import PreviewsStage, ShownClip, previews_there

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ExportedPreviews:
    """The previews of the clips to export."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """Clip id → bytes, with the hash where it is known. In a dry run only of those that are there."""
    failures: tuple[Failure, ...] = ()
    """Of clips without a preview. They are not exported, as all samples must have the same members."""
    num_run: int = 0
    num_skipped: int = 0

    def columns(self, ids: Iterable[str]) -> dict[str, pa.Array]:
        """For some clips, the bytes of their previews, and what a shard depends on beside their records."""
        import pyarrow as pa

        sizes = [self.sizes.get(one, 0) for one in ids]
        return {PREVIEW_BYTES: pa.array(map(int, sizes), pa.int64()), TOLD: pa.array(map(_told, sizes), pa.string())}


def _told(size: int) -> str:
    return f"{int(size)} {size.content_hash if isinstance(size, Written) else ''}"


def make_previews(folder: Folder, tables: Callable[[], Iterable[pa.Table]], context: RunContext) -> ExportedPreviews:
    """Make the previews of the clips in tables of records, of the output `folder`, that are not there yet."""
    columns = ("id", "num_bytes", "start_s", "end_s", "source_video")
    rows = [row for table in tables() for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]
    clips = tuple(ShownClip(clip, num_bytes, end - start) for clip, num_bytes, start, end, _ in rows)
    result = PreviewsStage(folder.url, clips, folder.storage_options).run(context=context)
    there = previews_there(folder)
    sizes = {clip.id: there[clip.id] for clip in clips if clip.id in there}
    if context.dry_run:
        return ExportedPreviews(sizes, (), result.num_run, result.num_skipped)
    why = {failure.source: failure for failure in result.failures}
    failures = [_failure(clip, source, why.get(f"clip {clip}")) for clip, *_, source in rows if clip not in sizes]
    return ExportedPreviews(sizes, tuple(failures), result.num_run, result.num_skipped)


def _failure(clip: str, source: str, why: Failure | None) -> Failure:
    reason, message = (why.reason, why.message) if why is not None else ("no-preview", "it has no preview")
    return Failure("export", source, reason, message, clip)
