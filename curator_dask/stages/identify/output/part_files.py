"""Make one part of the decisions, on a worker, of its columns and the ids in the clusters' tables; and put it in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.decisions.read_decisions import extent
from curator_dask.data.tables import parquet_bytes
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decisions.part_rows import REASONS
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, ids_at
from curator_dask.stages.identify.output.pieces import Pieces

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PartTask:
    """Make one part, and put it in its place."""

    output: Folder
    path: str
    made: str
    """Path in `output` of the finished file while it is not in its place."""
    tables: ClusterTables
    """Gives the tables of clusters; which ones are needed is among the columns."""
    id_type: Any
    eps: float
    of_all: tuple[int, int] | None
    """For the first part, how many parts and rows there are."""
    pieces: Pieces | None
    """Where what it gives to the tables and lists of all clips goes; None: nowhere."""


Columns = dict[str, Any]
"""Columns of different lengths: Arrow arrays by their names."""


def packed(columns: Columns) -> pa.Table:
    """The columns as a table with one line of lists."""
    import pyarrow as pa

    return pa.table({name: pa.LargeListArray.from_arrays([0, len(one)], one) for name, one in columns.items()})


def make_part(task: PartTask, columns: Columns) -> None:
    """Write the file of a part, but not to its place, and what the part gives to the tables and lists of all clips."""
    part = _PartColumns(task, columns).table()
    if task.pieces is not None:
        task.pieces.write(part)
    if task.of_all is not None:
        part = part.replace_schema_metadata(extent(*task.of_all))
    with task.output.writing(task.made, for_this_run=True) as temporary:
        temporary.write_bytes(parquet_bytes(part))


def put_part(task: PartTask) -> UnitResult:
    """Put the file of a part in its place. It is copied, as this may be done twice."""
    return UnitResult({task.path: task.output.write_bytes(task.path, task.output.read_bytes(task.made))})


@dataclass(frozen=True)
class _PartColumns:
    """Makes the columns of a part."""

    task: PartTask
    given: Columns

    def table(self) -> pa.Table:
        import pyarrow as pa

        given, removed = self.given, self._numbers("removed")
        ids, references = self._ids()
        line = pa.array(np.cumsum(removed) - 1, mask=~removed)
        columns = self._of_removed(references).take(line)
        group = self._numbers("group")
        every = {
            "cosine_sim_score": given["cosine_sim_score"],
            "cluster": given["cluster"],
            "group_id": pa.array(group, mask=group < 0),
            "representative_id": self._named("leader", references),
        }
        found = {name: every.get(name, columns[name] if name in columns.column_names else None) for name in COLUMNS}
        return pa.table({"id": ids, "removed": given["removed"], **found})

    def _numbers(self, name: str) -> Any:
        return self.given[name].to_numpy(zero_copy_only=False)

    def _ids(self) -> tuple[pa.Array, pa.Array]:
        """The ids of the lines, and those of the references."""
        import pyarrow as pa

        names = ("table", "reference_table"), ("line", "reference_line")
        place, line = (np.concatenate([self._numbers(name) for name in pair]) for pair in names)
        tables = self.task.tables.of_clusters(self.given["number"].to_pylist())
        ids = ids_at(tables, place, line, self.task.id_type)
        own = len(self.given["line"])
        others = self.given["reference_id"].cast(self.task.id_type)
        return ids.slice(0, own), pa.concat_arrays([ids.slice(own), others])

    def _named(self, name: str, references: pa.Array) -> pa.Array:
        """The ids of the references in a column; null for none."""
        import pyarrow as pa

        places = self._numbers(name)
        return references.take(pa.array(places, mask=places < 0))

    def _of_removed(self, references: pa.Array) -> pa.Table:
        import pyarrow as pa

        given, num_removed = self.given, len(self.given["kept"])
        return pa.table(
            {
                "kept_id": self._named("kept", references),
                "max_id": self._named("max", references),
                "kept_score": given["kept_score"],
                "eps": pa.array(np.full(num_removed, self.task.eps, np.float64), mask=~self._numbers("has_eps")),
                "reason": pa.array(REASONS, pa.string()).take(given["reason"]),
                "source": self._sources(),
                "start_s": given["start_s"],
                "end_s": given["end_s"],
                **self._covering(references),
            }
        )

    def _sources(self) -> pa.Array:
        import pyarrow as pa

        places = self._numbers("source")
        return given_or_empty(self.given["source_name"].take(pa.array(places, mask=places < 0)))

    def _covering(self, references: pa.Array) -> dict[str, pa.Array]:
        """``offset_s``, ``cover``, ``kind`` and ``kept_ids``.

        The first three are null unless the rule is ``overlap``, for rows that a person removed, and for copies of a clip
        that a near neighbour replaced. By the other rules a row has one kept row at most.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if "kind" not in self.given:
            names = {"offset_s": pa.float64(), "cover": pa.float64(), "kind": pa.string()}
            nothing = {name: pa.nulls(len(self.given["kept"]), kind) for name, kind in names.items()}
            kept = self._numbers("kept")
            return {**nothing, "kept_ids": lists(references.take(pa.array(kept[kept >= 0])), kept >= 0)}
        kind = self.given["kind"]
        unknown = pc.is_null(kind).to_numpy(zero_copy_only=False)
        return {
            **{name: pa.array(self._numbers(name), mask=unknown) for name in ("offset_s", "cover")},
            "kind": kind,
            "kept_ids": lists(self._named("all_kept", references), self._numbers("num_kept")),
        }


COLUMNS = (
    *("kept_id", "max_id", "cosine_sim_score", "kept_score", "cluster", "eps", "reason", "source", "start_s", "end_s"),
    *("offset_s", "cover", "kind", "kept_ids", "group_id", "representative_id"),
)


def given_or_empty(texts: pa.Array) -> pa.Array:
    """The texts, and an empty one in place of each null."""
    import pyarrow.compute as pc

    return pc.fill_null(texts, "")


def lists(ids: pa.Array, lengths: Any) -> pa.ListArray:
    """Lists of these lengths."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths)), pa.int32()), ids)
