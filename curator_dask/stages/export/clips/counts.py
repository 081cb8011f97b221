"""What an export counts: clips in it and failed ones, how many of each are plain, and what lists and tables say of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from curator_dask.stages.export.clips.chosen import IS_PLAIN
from curator_dask.stages.export.clips.exported import ExportedClips

if TYPE_CHECKING:
    import pyarrow as pa


def count_clips(clips: ExportedClips, *, has_list: bool) -> dict[str, int]:
    """The counts of an export, by name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    failed = {failure.clip_id for failure in clips.failures}
    num_open = len({failure.clip_id for failure in clips.failures if failure.is_open})
    gone, num_clips, num_plain, num_plain_failed = pa.array(sorted(failed), pa.string()), 0, 0, 0
    for table in clips.tables():
        is_gone, is_plain = pc.is_in(table["id"], value_set=gone), table[IS_PLAIN]
        num_clips += len(table) - (pc.sum(is_gone).as_py() or 0)
        num_plain += pc.sum(pc.and_not(is_plain, is_gone)).as_py() or 0
        num_plain_failed += pc.sum(pc.and_(is_plain, is_gone)).as_py() or 0
    metadata = clips.metadata
    return {
        "clips": num_clips,
        "clips_plain": num_plain,
        "clips_failed": len(failed) - num_open,
        **({"clips_open": num_open} if num_open else {}),
        "plain_failed": num_plain_failed + clips.chosen.num_plain_failed,
        **({"clips_undecided": clips.chosen.num_undecided} if clips.chosen.num_undecided else {}),
        **({"clips_not_sampled": clips.chosen.num_known - clips.chosen.num_chosen} if has_list else {}),
        **(metadata.counts(_without(clips, gone)) if metadata is not None else {}),
    }


def undecided(clips: ExportedClips) -> str | None:
    """What a person should know of clips that are in no decision; None if there are none."""
    chosen = clips.chosen
    if not chosen.num_undecided:
        return None
    return (
        f"clips of the index that no decision names are left out: {chosen.num_undecided:,}, as they have no vector (the "
        f"failures of embed tell why), were not there when it was decided, or were taken out of a keep.txt by hand; for example "
        f"{', '.join(map(repr, chosen.undecided))}"
    )


def _without(clips: ExportedClips, gone: pa.Array) -> Iterator[pa.Table]:
    import pyarrow.compute as pc

    for table in clips.dressed():
        yield table.filter(pc.invert(pc.is_in(table["id"], value_set=gone)))
