"""Plain clips: clips that are not broken, but whose pictures are too plain or too few for the model to give a vector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from curator_dask.data.tables import parquet_bytes, read_parquet
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.layout import EMBEDDINGS_ENDING, PLAIN_CLIPS
from curator_dask.runtime.records import JSON, Failure, UnitRecord
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa

MARKED = "plain"
"""The name of the list in a unit's marker."""

EARLIER_REASONS = frozenset({"low-quality", "no-texture", "zero-vector", "no-vector", "too-few-frames"})
"""Earlier versions listed plain clips among the failures of a unit, with these reasons."""


@dataclass(frozen=True, slots=True)
class PlainClip:
    """A clip without a vector that is not broken."""

    id: str
    source: str
    """The video that it was cut from."""
    reason: str
    """A short code that never changes, to group by."""
    message: str


def marked(clips: Iterable[PlainClip]) -> dict[str, JSON]:
    """What the marker of a unit holds about its plain clips; nothing if there are none."""
    listed = [asdict(clip) for clip in clips]
    return {MARKED: listed} if listed else {}


def plain_clips_of(record: UnitRecord) -> list[PlainClip]:
    """The plain clips of a unit, also from a marker of an earlier version."""
    earlier = [failure for failure in record.failures if is_plain(failure)]
    return [
        *(PlainClip(**clip) for clip in record.data.get(MARKED, ())),
        *(PlainClip(one.clip_id, one.source, one.reason, one.message) for one in earlier),
    ]


def is_plain(failure: Failure) -> bool:
    """Whether an earlier version recorded a plain clip as this failure."""
    return failure.reason in EARLIER_REASONS


def publish_plain_clips(state: StageState, clips: Iterable[PlainClip]) -> tuple[PlainClip, ...]:
    """Write the list of plain clips beside the vectors; without any, there is no file. Returns them by source and id."""
    listed = tuple(sorted(clips, key=lambda clip: (clip.source, clip.id)))
    if listed:
        state.publish(PLAIN_CLIPS, parquet_bytes(_table(listed)))
    else:
        state.unpublish(PLAIN_CLIPS)
    return listed


def _table(clips: Iterable[PlainClip]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([(field.name, pa.string()) for field in fields(PlainClip)])
    return pa.Table.from_pylist([asdict(clip) for clip in clips], schema=schema)


def read_plain_ids(embeddings: Folder | None) -> set[str]:
    """The ids of the plain clips beside these vectors; none where there is no list, or no folder."""
    if embeddings is None or not embeddings.exists(PLAIN_CLIPS):
        return set()
    return set(read_parquet(embeddings, PLAIN_CLIPS, ["id"])["id"].to_pylist())


def only_embeddings(clips: Folder) -> Folder | None:
    """The one folder of vectors below a split output that lists plain clips; None if there is none.

    Raises InputError if there are several: each model has its own plain clips.
    """
    vectors = (name for name in clips.subfolders() if name.endswith(EMBEDDINGS_ENDING))
    found = [name for name in vectors if clips.exists(f"{name}/{PLAIN_CLIPS}")]
    if len(found) > 1:
        raise InputError(
            f"{clips.url} holds plain clips of several models ({', '.join(found)}): "
            "say with embeddings_path which vectors the decisions were made from"
        )
    return clips.below(found[0]) if found else None
