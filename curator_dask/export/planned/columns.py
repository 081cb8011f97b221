"""Clips to export as a table: one row per clip, a column per field of `ClipRecord`. A record takes 2 kB, a row 0.2 kB.

After the fields follow the quality columns, if the quality of any clip of the dataset is known, and ``metadata`` (the JSON
of `ClipMetadata.fields`), ``caption`` and ``has_row``, if the export carries a user's table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from curator_dask.export.samples import (
    CLIP_SCHEMA,
    METADATA,
    QUALITY_SCHEMA,
    ClipMetadata,
    ClipRecord,
    clip_record,
    plain_text,
)

if TYPE_CHECKING:
    import pyarrow as pa

QUALITY: Final = tuple(QUALITY_SCHEMA)
CAPTION, HAS_ROW = "caption", "has_row"

# Columns that rows have beside the fields of a record.
TOLD: Final = "told"
"""What a shard depends on beside the records of its clips."""
CONTENT_HASH: Final = "content_hash"
"""The hash of the media file; null where none was recorded."""
EXTRA_BYTES: Final = "bytes."
"""Stands before an extension: the bytes of a further member of each sample."""
PREVIEW_BYTES: Final = f"{EXTRA_BYTES}webp"
CAPTION_BYTES: Final = f"{EXTRA_BYTES}txt"


def record_schema(*, with_quality: bool = False, with_metadata: bool = False) -> pa.Schema:
    """The columns and their types."""
    import pyarrow as pa

    arrow = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    kinds = {**CLIP_SCHEMA, **(QUALITY_SCHEMA if with_quality else {})}
    own = [(name, arrow[kind]) for name, kind in kinds.items()]
    return pa.schema([*own, *(metadata_schema() if with_metadata else [])])


def metadata_schema() -> pa.Schema:
    """The columns of what a user's table says."""
    import pyarrow as pa

    return pa.schema([(METADATA, pa.large_string()), (CAPTION, pa.large_string()), (HAS_ROW, pa.bool_())])


def record_table(records: Sequence[ClipRecord]) -> pa.Table:
    """The table of some records; all of them have quality and metadata, or none has."""
    import pyarrow as pa

    first = records[0] if records else None
    schema = record_schema(
        with_quality=first is not None and first.quality is not None,
        with_metadata=first is not None and first.metadata is not None,
    )
    return pa.Table.from_pylist([_row(record) for record in records], schema=schema)


def _row(record: ClipRecord) -> dict[str, Any]:
    own = {name: getattr(record, name) for name in CLIP_SCHEMA}
    plain = {name: plain_text(value) if isinstance(value, str) else value for name, value in own.items()}
    quality = asdict(record.quality) if record.quality is not None else {}
    return {**plain, **quality, **(metadata_row(record.metadata) if record.metadata is not None else {})}


def metadata_row(metadata: ClipMetadata) -> dict[str, Any]:
    """What a user's table says of a clip, as columns."""
    return {METADATA: metadata.fields, CAPTION: metadata.caption, HAS_ROW: metadata.has_row}


def records_of(table: pa.Table) -> list[ClipRecord]:
    """The records of a table, in its order."""
    return [_record(row) for row in table.to_pylist()]


def _record(row: Mapping[str, Any]) -> ClipRecord:
    from curator_dask.dedup.quality.measure import Quality

    own = {name: row[name] for name in CLIP_SCHEMA}
    quality = Quality(*(row[name] for name in QUALITY)) if QUALITY[0] in row else None
    metadata = ClipMetadata(row[METADATA], row[CAPTION], row[HAS_ROW]) if METADATA in row else None
    return ClipRecord(**own, quality=quality, metadata=metadata)


def plain_columns(rows: pa.Table) -> pa.Table:
    """The fields of `ClipRecord` from the rows of a table, as `clip_record` takes them from one row.

    Nulls and numbers that are not finite become "not known", and so do columns that are not there. Raises InputError, which
    names the clip, for the first row that `clip_record` refuses.
    """
    import pyarrow as pa

    schema = record_schema()
    columns = [_plain_column(rows, field) for field in schema]
    if any(column is None for column in columns) or _has_bad_row(
        columns[0], columns[schema.get_field_index("num_bytes")]
    ):
        return record_table([clip_record(row) for row in rows.to_pylist()])
    return pa.table(columns, schema=schema)


def _plain_column(rows: pa.Table, field: pa.Field) -> Any:
    """The values of a field; None where they are of a type that has to be looked at value by value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unknown = clip_unknown(field.name)
    if field.name not in rows.column_names or pa.types.is_null(rows.schema.field(field.name).type):
        return pa.repeat(pa.scalar(unknown, field.type), len(rows))
    column = rows[field.name]
    if column.type != field.type:
        return None
    if pa.types.is_floating(field.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
    return pc.fill_null(column, pa.scalar(unknown, field.type))


def clip_unknown(name: str) -> Any:
    """What stands in a field that is not known."""
    return {str: "", int: -1, float: 0.0}[CLIP_SCHEMA[name]]


def _has_bad_row(ids: Any, num_bytes: Any) -> bool:
    import pyarrow.compute as pc

    from curator_dask.export.samples import MAX_MEDIA_BYTES

    bad = pc.or_(pc.equal(ids, ""), pc.or_(pc.less(num_bytes, 1), pc.greater(num_bytes, MAX_MEDIA_BYTES)))
    return bool(pc.any(bad).as_py())
