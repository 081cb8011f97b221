"""Clips that filters drop for what their pictures are like, before anything is decided.

A dropped clip is neither kept nor removed, and no clip is removed for it: the others are decided on as if it were not
there. So a moment is lost only where all clips that show it are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.beside_vectors.plain_clips import read_plain_ids
from curator_dask.data.beside_vectors.quality_table import first_of_each, quality_beside_vectors
from curator_dask.data.clip_index import clip_index_batches, clip_index_schema
from curator_dask.data.ids import id_column, id_texts
from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.data.tables import open_parquet, parquet_bytes, read_parquet
from curator_dask.dedup.quality.filters import QualityFilters as QualityFilters
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.errors import InputError
from curator_dask.files.buckets.buckets import buckets_for
from curator_dask.files.buckets.meeting import folder_for_buckets, gather, read_bucket
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import escaped_lines
from curator_dask.files.layout import DROP_LIST, DROPPED_TABLE
from curator_dask.files.names import counted
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DroppedRows:
    """Where a worker finds the ids of dropped clips."""

    folder: Folder
    version: str
    """Digest of the ids."""

    def stay(self, ids: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
        """(N,) which of these ids are not dropped."""
        return _not_among(ids, self._ids)

    @cached_property
    def _ids(self) -> pa.ChunkedArray:
        return read_parquet(self.folder, DROPPED_TABLE, ["id"])["id"]


@dataclass(frozen=True)
class DroppedClips:
    """The clips that filters drop."""

    table: pa.Table
    """By id: ``id``, ``source``, ``start_s``, ``end_s``, ``reason``, ``column``, ``value``, ``limit``, and ``plain`` (whether
    it is too plain for a vector, and so is no row)."""
    num_unknown: int
    """Rows and plain clips whose quality is not known; they stay."""

    @property
    def version(self) -> str:
        """Digest of the ids."""
        return digest(self.table["id"].to_pylist())

    def stay(self, ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """(N,) which of these ids are not dropped."""
        return _not_among(ids, self.table["id"])

    def counts(self) -> dict[str, int]:
        """Dropped rows, dropped plain clips, and the numbers of both by reason."""
        plain = int(np.count_nonzero(self.table["plain"].to_numpy()))
        reasons = self.table["reason"].value_counts().to_pylist()
        by_reason = {f"dropped_{one['values'].replace('-', '_')}": one["counts"] for one in reasons}
        return {"dropped": len(self.table) - plain, "plain_dropped": plain, **dict(sorted(by_reason.items()))}

    def warnings(self) -> tuple[str, ...]:
        if not self.num_unknown:
            return ()
        return (
            f"{counted(self.num_unknown, 'clips')} passed the filters unseen, as no quality columns are known of them: they "
            "come from split with embed, or from embed",
        )


def drop_clips(
    filters: QualityFilters, clips: Folder | None, embeddings: Folder | None,
    clusters: Sequence[ClusterInput], kept_by_hand: Collection[str],
) -> DroppedClips:  # fmt: skip
    """Find the clips that the filters drop, among rows and plain clips. They meet in buckets on the local disk.

    Args:
        clips: the output of the split stage. embeddings: that of the embed stage. Either may have the quality columns.
        clusters: all rows.
        kept_by_hand: ids that a person keeps. They are not dropped.

    Raises InputError if nothing is known of any clip.
    """
    import pyarrow as pa

    plain, stay = sorted(read_plain_ids(embeddings)), pa.array(sorted(kept_by_hand), pa.large_string())
    num_buckets = buckets_for(sum(map(count_rows, clusters)) + len(plain))
    with folder_for_buckets() as scratch:
        index = gather(_index_batches(clips), scratch, num_buckets)
        beside = gather(quality_beside_vectors(clips, embeddings), scratch, num_buckets)
        rows = gather((pa.table({"id": ids}) for ids in row_ids(clusters)), scratch, num_buckets)
        others = gather([pa.table({"id": pa.array(plain, pa.large_string())})], scratch, num_buckets)
        found = [
            _Bucket(*(read_bucket(some, number) for some in (index, beside, rows, others))).dropped(filters, stay)
            for number in range(num_buckets)
        ]
    if not sum(one.num_seen for one in found):
        place = (clips or embeddings or Folder(".")).url
        raise InputError(
            f"{place} holds no quality columns, which {', '.join(filters.identity())} needs. Give clips_path (the output "
            "of split, or of run), or run embed again: see docs/quality.md"
        )
    table = pa.concat_tables([one.table for one in found]).sort_by("id").combine_chunks()
    return DroppedClips(table, sum(one.num_unknown for one in found))


class _Found(NamedTuple):
    """What the filters do to the clips of one bucket."""

    table: pa.Table
    num_unknown: int
    num_seen: int
    """Clips whose quality is known."""


@dataclass(frozen=True)
class _Bucket:
    """What is known of the clips of one bucket; None for nothing."""

    index: pa.Table | None
    """The clip index."""
    beside: pa.Table | None
    """The quality beside the vectors."""
    rows: pa.Table | None
    plain: pa.Table | None

    def _quality(self) -> pa.Table:
        import pyarrow as pa

        of_index = [] if self.index is None else [self.index.select(["id", *COLUMNS])]
        every = pa.concat_tables([_no_quality(), *of_index, *([] if self.beside is None else [self.beside])])
        return first_of_each(every.filter(every[COLUMNS[0]].is_valid()))

    def dropped(self, filters: QualityFilters, stay: pa.Array) -> _Found:
        """The clips that the filters drop."""
        import pyarrow as pa

        nothing = pa.chunked_array([], pa.large_string())
        rows, plain = (nothing if some is None else id_texts(some["id"]) for some in (self.rows, self.plain))
        plain = plain.filter(pa.array(_not_among(plain, rows)))
        quality = self._quality()
        known = id_texts(quality["id"])
        among = ~_not_among(known, pa.chunked_array([*rows.chunks, *plain.chunks], pa.large_string()))
        failed = filters.first_failed({limit.column: quality[limit.column].to_numpy() for limit in filters.limits()})
        chosen = among & (failed >= 0) & _not_among(known, _chunked(stay))
        table = _table(filters, quality.filter(pa.array(chosen)), failed[chosen], plain, self.index)
        return _Found(table, len(rows) + len(plain) - int(np.count_nonzero(among)), len(quality))


def row_ids(clusters: Iterable[ClusterInput]) -> Iterator[pa.ChunkedArray]:
    """The ids of the rows of each cluster, as texts, from its similarity table."""
    for one in clusters:
        table = read_parquet(one.tables, one.table, [one.id_field])
        yield id_texts(_chunked(id_column(table, table.column_names[0]))).cast("large_string")


def count_rows(cluster: ClusterInput) -> int:
    """How many rows a cluster has, by what its similarity table says of itself."""
    with open_parquet(cluster.tables, cluster.table) as file:
        return int(file.metadata.num_rows)


def write_dropped(state: StageState, dropped: DroppedClips | None) -> None:
    """Write the table and the list of dropped clips; without filters, there are none."""
    if dropped is None:
        state.unpublish(DROPPED_TABLE)
        state.unpublish(DROP_LIST)
        return
    state.publish(DROPPED_TABLE, parquet_bytes(dropped.table))
    lines = escaped_lines(id_texts(dropped.table["id"])).to_pylist()
    state.publish(DROP_LIST, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def _table(
    filters: QualityFilters,
    quality: pa.Table,
    failed: NDArray[np.int64],
    plain: pa.ChunkedArray,
    index: pa.Table | None,
) -> pa.Table:
    import pyarrow as pa

    limits = [filters.limits()[place] for place in failed.tolist()]
    names = [limit.column for limit in limits]
    values = [quality[name][row].as_py() for row, name in enumerate(names)]
    spans = _spans(quality["id"], index)
    return pa.table(
        {
            "id": quality["id"],
            **{name: spans[name] for name in ("source", "start_s", "end_s")},
            "reason": pa.array([limit.reason for limit in limits], pa.string()),
            "column": pa.array(names, pa.string()),
            "value": pa.array(values, pa.float64()),
            "limit": pa.array([limit.value for limit in limits], pa.float64()),
            "plain": ~_not_among(quality["id"], plain),
        }
    )


SPANS: Final[dict[str, Any]] = {"source_video": "", "start_s": 0.0, "end_s": 0.0}
"""The columns of the clip index that tell where a clip comes from, and what stands for a clip that it does not know."""


def _index_batches(clips: Folder | None) -> Iterator[pa.Table]:
    """Spans and quality columns of the clip index; these are null where an earlier version wrote it."""
    import pyarrow as pa

    if clips is None:
        return
    has_quality = set(COLUMNS) <= set(clip_index_schema(clips).names)
    for clip in clip_index_batches(clips, ["id", *SPANS, *(COLUMNS if has_quality else ())]):
        unknown = pa.nulls(len(clip), pa.float64())
        quality = {name: clip[name].cast(pa.float64()) if has_quality else unknown for name in COLUMNS}
        yield pa.table({"id": clip["id"].cast(pa.string()), **{name: clip[name] for name in SPANS}, **quality})


def _spans(ids: pa.ChunkedArray, index: pa.Table | None) -> dict[str, Any]:
    """Source, start and end of clips, where the clip index knows them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if index is None:
        kinds = (pa.string(), pa.float64(), pa.float64())
        found = {
            name: pa.array([nothing] * len(ids), kind)
            for (name, nothing), kind in zip(SPANS.items(), kinds, strict=True)
        }
    else:
        place = pc.index_in(id_texts(ids), value_set=id_texts(index["id"]))
        found = {name: pc.fill_null(index[name].take(place), nothing) for name, nothing in SPANS.items()}
    return {"source": found["source_video"], "start_s": found["start_s"], "end_s": found["end_s"]}


def _no_quality() -> pa.Table:
    import pyarrow as pa

    return pa.table({"id": pa.array([], pa.string()), **{name: pa.array([], pa.float64()) for name in COLUMNS}})


def _chunked(ids: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([ids])


def _not_among(ids: pa.Array | pa.ChunkedArray, others: pa.ChunkedArray) -> NDArray[np.bool_]:
    """(N,) which of the ids are not among others."""
    import pyarrow.compute as pc

    found = pc.is_in(id_texts(_chunked(ids)), value_set=id_texts(_chunked(others)))
    missing: NDArray[np.bool_] = ~found.to_numpy().astype(np.bool_)
    return missing
