"""Quality columns: what the pictures of a clip are like. They lie in the clip index, and in a table beside the vectors.

The clip index has those of clips whose frames passed while they were cut. The table has those of clips whose frames the
embed stage saw: ready clips, and clips that were cut without a model. A clip of an earlier version may have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from curator_dask.data.clip_index import clip_index_batches, clip_index_schema, has_clip_index
from curator_dask.data.tables import open_parquet, publish_parquet, row_group_tables
from curator_dask.dedup.quality.measure import COLUMNS, Quality
from curator_dask.files.buckets.meeting import folder_for_buckets
from curator_dask.files.buckets.sorted_rows import sorted_rows
from curator_dask.files.folder import Folder
from curator_dask.files.layout import EMBEDDINGS_ENDING, QUALITY
from curator_dask.runtime.records import JSON, UnitRecord
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa

MARKED = "quality"
"""The name of the rows in a unit's marker."""


def marked_quality(clips: Iterable[tuple[str, Quality | None]]) -> dict[str, JSON]:
    """What the marker of a unit holds about the quality of its clips; nothing where none is known."""
    rows: list[JSON] = [[name, *astuple(quality)] for name, quality in clips if quality is not None]
    return {MARKED: rows} if rows else {}


def publish_quality(state: StageState, records: Iterable[UnitRecord]) -> None:
    """Write the table beside the vectors from the markers of all units, by id; where no quality is known, there is none."""
    batches = map(_table, _batches(record.data.get(MARKED, ()) for record in records))
    with folder_for_buckets() as scratch:
        rows = sorted_rows(batches, scratch, _schema(), _schema().names)
        if rows.num_rows:
            publish_parquet(state, QUALITY, rows.schema, rows.tables())
        else:
            state.unpublish(QUALITY)


def _batches(of_units: Iterable[Sequence[Sequence[Any]]], rows_at_once: int = 8_192) -> Iterator[list[Sequence[Any]]]:
    """The rows of all units, some thousand Python objects at a time."""
    batch: list[Sequence[Any]] = []
    for rows in of_units:
        batch += rows
        if len(batch) >= rows_at_once:
            yield batch
            batch = []
    if batch:
        yield batch


def read_quality(clips: Folder | None, embeddings: Folder | None = None) -> pa.Table:
    """``id`` and the quality columns of all clips that have them, by id. Files that are missing, or older, have none.

    Args:
        clips: the output of the split stage.
        embeddings: the output of the embed stage; None: all that lie below `clips`.
    """
    import pyarrow as pa

    return first_of_each(pa.concat_tables([_table([]), *quality_batches(clips, embeddings)]))


def quality_batches(clips: Folder | None, embeddings: Folder | None = None) -> Iterator[pa.Table]:
    """As `read_quality`, some clips at a time: an id may come twice."""
    if clips is not None:
        yield from _of_index(clips)
    yield from quality_beside_vectors(clips, embeddings)


def quality_beside_vectors(clips: Folder | None, embeddings: Folder | None = None) -> Iterator[pa.Table]:
    """As `quality_batches`, without the clip index. Files without such columns have none."""
    places = [] if clips is None else _tables_below(clips)
    for folder, path in places if embeddings is None else [(embeddings, QUALITY)]:
        for found in _read(folder, path):
            yield found.filter(found[COLUMNS[0]].is_valid())


def quality_by_id(table: pa.Table) -> dict[str, dict[str, float]]:
    """The rows of `read_quality` by id."""
    return {row.pop("id"): row for row in table.to_pylist()}


def _tables_below(clips: Folder) -> list[tuple[Folder, str]]:
    vectors = (name for name in clips.subfolders() if name.endswith(EMBEDDINGS_ENDING))
    return [(clips, path) for path in (f"{name}/{QUALITY}" for name in vectors) if clips.exists(path)]


def _of_index(clips: Folder) -> Iterator[pa.Table]:
    if not has_clip_index(clips) or not set(COLUMNS) <= set(clip_index_schema(clips).names):
        return
    for found in clip_index_batches(clips, ["id", *COLUMNS]):
        yield found.filter(found[COLUMNS[0]].is_valid()).cast(_schema())


def _read(folder: Folder, path: str) -> Iterator[pa.Table]:
    if not folder.exists(path):
        return
    with open_parquet(folder, path) as file:
        known = set(COLUMNS) <= set(file.schema_arrow.names)
    if known:
        for found in row_group_tables(folder, path, ["id", *COLUMNS]):
            yield found.replace_schema_metadata(None).cast(_schema())


def first_of_each(table: pa.Table) -> pa.Table:
    """One row per id, by id. All measure the same frames, so it does not matter which."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.take(pc.sort_indices(table, sort_keys=[("id", "ascending")])).combine_chunks()
    if len(table) < 2:
        return table
    ids = table["id"]
    is_new = pc.not_equal(ids[1:], ids[:-1]).combine_chunks()
    return table.filter(pa.concat_arrays([pa.array([True]), is_new]))


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("id", pa.string()), *((name, pa.float64()) for name in COLUMNS)])


def _table(rows: Sequence[Sequence[Any]]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else [()] * len(_schema())
    return pa.table(
        {field.name: pa.array(values, field.type) for field, values in zip(_schema(), columns, strict=True)}
    )


def quality_columns(quality: Quality | None) -> Mapping[str, float | None]:
    """The quality of a clip as columns of its row; nulls where it is not known."""
    return dict.fromkeys(COLUMNS) if quality is None else dict(zip(COLUMNS, astuple(quality), strict=True))
