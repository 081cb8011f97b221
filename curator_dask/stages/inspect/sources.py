"""The files that tell something of the clips of a finished output: tables of bounded size, read column by column."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from curator_dask.data.beside_vectors.quality_table import quality_beside_vectors
from curator_dask.data.clip_index import (
    QUALITY_COLUMNS,
    clip_index_batches,
    clip_index_files,
    clip_index_schema,
    has_clip_index,
)
from curator_dask.data.clusters import cluster_files, count_rows
from curator_dask.data.decisions.read_decisions import decision_batches, decision_columns
from curator_dask.data.ids import id_texts
from curator_dask.data.tables import read_parquet, row_group_tables
from curator_dask.files import layout
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

REMOVED_COLUMNS: Final = (
    *("id", "kept_id", "max_id", "cosine_sim_score", "kept_score", "cluster", "eps", "reason"),
    *("offset_s", "cover", "kind", "kept_ids"),
)
OVERLAP_COLUMNS: Final = (
    "id",
    "other_id",
    "start_s",
    "end_s",
    "offset_s",
    "picture",
    "motion",
    "kind",
    "other_reference",
)
INDEX_COLUMNS: Final = ("id", "relative_path", "start_s", "end_s", "width", "height", "num_bytes", "clip_path", "valid")
ROWS_AT_ONCE: Final = 65_536
_IDS: Final = ("id", "kept_id", "max_id", "other_id")


@dataclass(frozen=True)
class Sources:
    """The files of one output."""

    out: Folder
    decisions: Folder
    tables: str
    """The folder of the similarity tables that were decided on, as far as that is recorded."""
    rule: str

    def num_clips(self) -> int:
        """The rows of the clip index; without one, those that were decided on."""
        if has_clip_index(self.out):
            return count_rows(self.out, clip_index_files(self.out))
        return sum(map(len, decision_batches(self.decisions, ["id"])))

    def index(self) -> Iterator[pa.Table]:
        """`INDEX_COLUMNS`, and the quality columns if the index has all of them; nothing where there is no index."""
        if not has_clip_index(self.out):
            return iter(())
        there = clip_index_schema(self.out).names
        return clip_index_batches(
            self.out, [*INDEX_COLUMNS, *(QUALITY_COLUMNS if set(QUALITY_COLUMNS) <= set(there) else ())]
        )

    def decided(self) -> Iterator[pa.Table]:
        """`REMOVED_COLUMNS`, ``group_id`` and ``removed`` of all clips that were decided on."""
        import pyarrow as pa

        names = [*REMOVED_COLUMNS, "group_id", "removed"]
        kinds = pa.schema([decision_columns().field(name) for name in names])
        for batch in decision_batches(self.decisions, names):
            yield batch.select(names).cast(kinds)

    def scored(self) -> Iterator[pa.Table]:
        """``id``, ``max_id``, ``cosine_sim_score`` and ``cluster`` from the similarity tables that were decided on; where
        that is not recorded, from those across clusters if there are some."""
        import pyarrow as pa

        tables = (layout.CROSS_CLUSTER, layout.PAIRWISE)
        name = next(
            (one for one in ((self.tables,) if self.tables in tables else tables) if self.out.below(one).exists()), None
        )
        if name is None:
            return
        folder = self.out.below(name)
        for cluster, entry in cluster_files(folder).items():
            table = read_parquet(folder, entry.path, ["id", "max_id", "cosine_sim_score"])
            columns = [id_texts(table["id"]), id_texts(table["max_id"]), table["cosine_sim_score"].cast(pa.float32())]
            yield pa.table([*columns, pa.repeat(cluster, len(table))], names=[*table.column_names, "cluster"])

    def media(self) -> Iterator[pa.Table]:
        """``id`` of the clips whose file is there."""
        import pyarrow as pa

        before, after = layout.clip_path("\0").split("\0")
        paths = (entry.path for entry in self.out.each_entry(before.rstrip("/")))
        ids = (path[len(before) : -len(after)] for path in paths if path.startswith(before) and path.endswith(after))
        while some := list(itertools.islice(ids, ROWS_AT_ONCE)):
            texts = [one.encode("utf-8", "surrogateescape") for one in some]
            yield pa.table({"id": pa.array(texts, pa.large_binary())})

    def quality(self) -> Iterator[pa.Table]:
        """``id`` and the quality columns of tables beside the vectors."""
        return quality_beside_vectors(self.out)

    def overlaps(self) -> Iterator[pa.Table] | None:
        """`OVERLAP_COLUMNS` but the last, within this output; None where overlaps did not decide."""
        folder = self.out.below(layout.OVERLAPS)
        if self.rule != "overlap" or not folder.exists(layout.OVERLAPS_TABLE):
            return None
        return map(_own_overlaps, row_group_tables(folder, layout.OVERLAPS_TABLE, None))


def _own_overlaps(table: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    table = texts_of(table, OVERLAP_COLUMNS)
    is_own = pc.invert(pc.fill_null(table["other_reference"].cast("bool"), False))
    return table.filter(is_own).drop_columns(["other_reference"])


def texts_of(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    """The columns of a table, ids as texts; a column that an earlier version did not write is empty."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    for name in columns:
        if name not in table.column_names:
            found[name] = pa.nulls(len(table))
        elif name in _IDS:
            found[name] = id_texts(table[name]).cast(pa.string())
        else:
            found[name] = table[name]
    return pa.table(found)


def frame_of(table: pa.Table, columns: tuple[str, ...]) -> pd.DataFrame:
    """The same as a frame."""
    return texts_of(table, columns).to_pandas()
