"""The previews that an export is to hold: those that are there already, and those that are made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curator_dask.export.plan import ExtraSizes
from curator_dask.export.samples import ClipRecord
from curator_dask.files.folder import Folder, Written
from curator_dask.runtime.records import Failure
from curator_dask.stages.base import RunContext
from curator_dask.stages.previews.stage import PreviewsStage, ShownClip, previews_there


@dataclass(frozen=True)
class ExportedPreviews:
    """The previews of the clips to export."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """Clip id → bytes, with the hash where it is known. In a dry run only of those that are there."""
    failures: tuple[Failure, ...] = ()
    """Of clips without a preview. They are not exported, as all samples must have the same members."""
    num_run: int = 0
    num_skipped: int = 0

    def of(self, records: Sequence[ClipRecord]) -> list[ClipRecord]:
        """The clips that have a preview."""
        return [record for record in records if record.id in self.sizes]

    def sizes_of(self, records: Sequence[ClipRecord]) -> dict[str, int]:
        return {record.id: int(self.sizes.get(record.id, 0)) for record in records}

    def extra_sizes(self) -> ExtraSizes:
        return {"webp": lambda record: self.sizes.get(record.id, 0)}

    def inputs_of(self, records: Sequence[ClipRecord]) -> list[str]:
        """What a shard depends on beside its clips."""
        return [_told(self.sizes.get(record.id, 0)) for record in records]


def _told(size: int) -> str:
    return f"{int(size)} {size.content_hash if isinstance(size, Written) else ''}"


def make_previews(folder: Folder, records: Sequence[ClipRecord], context: RunContext) -> ExportedPreviews:
    """Make the previews of these clips of the output `folder` that are not there yet."""
    clips = tuple(ShownClip(record.id, record.num_bytes, record.end_s - record.start_s) for record in records)
    result = PreviewsStage(folder.url, clips, folder.storage_options).run(context=context)
    there = previews_there(folder)
    sizes = {record.id: there[record.id] for record in records if record.id in there}
    if context.dry_run:
        return ExportedPreviews(sizes, (), result.num_run, result.num_skipped)
    why = {failure.source: failure for failure in result.failures}
    failures = [_failure(record, why.get(f"clip {record.id}")) for record in records if record.id not in sizes]
    return ExportedPreviews(sizes, tuple(failures), result.num_run, result.num_skipped)


def _failure(record: ClipRecord, why: Failure | None) -> Failure:
    reason, message = (why.reason, why.message) if why is not None else ("no-preview", "it has no preview")
    return Failure("export", record.source_video, reason, message, record.id)
