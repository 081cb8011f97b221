"""The decisions on the rows of one cluster as an Arrow file, which lies beside the marker of the cluster's unit.

Rows of the table are named by their numbers in it, other ones by their ids, so that the client needs no text of most rows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import id_digests
from curator_dask.data.ids import id_texts, offsets_and_text, one_type
from curator_dask.data.scored_clusters import Scores
from curator_dask.data.tables import write_arrow
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitResult

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 5
"""Version of the table. A unit that wrote an older one is done again."""
IDS = b"ids"
"""The key of the schema's metadata that holds a digest of all ids."""
DIGESTS = ("digest_high", "digest_low")
"""The columns with the halves of the digests of ids."""


def decision_table(
    scores: Scores, decisions: ClusterDecisions, *, cross_cluster: NDArray[np.bool_] | None = None,
    rows: slice = slice(None),
) -> pa.Table:  # fmt: skip
    """The decisions on the rows of a cluster, one line per row, in ranked order.

    Args:
        scores, decisions: all rows of the cluster.
        cross_cluster: (N,) rows whose `max_id` is a duplicate in another cluster; None: there is none.
        rows: the rows to include, the last ones. A group is included whole or not at all.
    """
    removed = decisions.removed
    elsewhere = np.zeros(len(removed), np.bool_) if cross_cluster is None else cross_cluster
    first = rows.indices(len(removed))[0]
    best = _places_of_matches(scores, removed | elsewhere)
    kept_row = np.where(removed, decisions.kept_row, -1)
    lost = (removed | elsewhere) & (best < 0)  # the match is in another cluster
    columns = {
        **_references("max", best[rows], scores.ids, first),
        **_references("kept", kept_row[rows], scores.ids, first),
        "removed": removed[rows],
        "cross_cluster": elsewhere[rows],
        "group": decisions.group[rows] - first,
        "cosine_sim_score": scores.score[rows],
        "kept_score": decisions.kept_score[rows],
    }
    if lost[rows].any():
        columns["max_id"] = _max_ids(scores, np.where(lost, len(lost) + np.arange(len(lost)), best)[rows], first)
    return _with_digest_of_all({"id": scores.ids[rows], **columns})


def _with_digest_of_all(columns: dict[str, Any]) -> pa.Table:
    """A table of rows with one digest of all ids. Those of single ids are made where they are asked for, if they ever are."""
    import pyarrow as pa

    digest = hashlib.blake2b(digest_size=16)
    for texts in id_texts(pa.chunked_array([columns["id"]])).chunks:
        offsets, text = offsets_and_text(texts)
        digest.update(np.diff(offsets).tobytes())
        digest.update(text)
    return pa.table(columns).replace_schema_metadata({IDS: digest.digest()})


def with_digests(columns: dict[str, Any]) -> pa.Table:
    """A table of rows with the digests of their ids, for `RowIndex`, and one digest of all of them."""
    import pyarrow as pa

    digests = digest_columns(columns["id"])
    whole = hashlib.blake2b(b"".join(half.tobytes() for half in digests.values()), digest_size=16).digest()
    return pa.table({**columns, **digests}).replace_schema_metadata({IDS: whole})


def digest_columns(ids: Any) -> dict[str, NDArray[np.uint64]]:
    """The halves of the digests of ids, an array or a chunked one, by the names of their columns."""
    import pyarrow as pa

    texts = id_texts(ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([ids]))
    return dict(zip(DIGESTS, id_digests(texts).T, strict=True))


def _places_of_matches(scores: Scores, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) the rows of the `max_id` of the chosen rows; -1 for other rows, and for a `max_id` that is not in the table."""
    return np.where(chosen, scores.places, -1) if chosen.any() else np.full(len(chosen), -1)


def _references(name: str, rows: NDArray[np.int64], ids: pa.Array, first: int) -> dict[str, Any]:
    """Rows as numbers in a table that begins with row `first`, and the ids of those before it. -1 is no row."""
    before = (rows >= 0) & (rows < first)
    return {
        f"{name}_row": np.where(rows >= first, rows - first, -1).astype(np.int32),
        f"{name}_id": _some(ids, rows, before),
    }


def _max_ids(scores: Scores, rows: NDArray[np.int64], first: int) -> pa.Array:
    """The `max_id` of rows before `first`, and of those from N on, which are the rows whose match is in another cluster."""
    import pyarrow as pa

    ids = pa.concat_arrays(one_type([scores.ids, scores.max_ids])).cast(scores.ids.type)
    return _some(ids, rows, ((rows >= 0) & (rows < first)) | (rows >= len(scores.ids)))


def _some(ids: pa.Array, rows: NDArray[np.int64], chosen: NDArray[np.bool_]) -> pa.Array:
    """The ids of the chosen ones among some rows; null for the others."""
    import pyarrow as pa

    if not chosen.any():
        return pa.nulls(len(rows), ids.type)
    return ids.take(pa.array(rows, mask=~chosen))


def write_decisions_of_unit(folder: Folder, path: str, table: pa.Table, rule: Rule) -> UnitResult:
    """Write the table of a unit. The result names the file and counts the decisions."""
    return write_unit_table(folder, path, table, _counts(table, rule))


def write_unit_table(folder: Folder, path: str, table: pa.Table, counts: dict[str, int]) -> UnitResult:
    """Write the Arrow file of a unit. The result names it, with these counts."""
    return UnitResult({path: write_arrow(folder, path, table, codec="lz4")}, counts)


def _counts(table: pa.Table, rule: Rule) -> dict[str, int]:
    removed, kept_score = table["removed"].to_numpy(), table["kept_score"].to_numpy()
    num_removed = int(removed.sum())
    return {
        "rows": len(table),
        "kept": len(table) - num_removed,
        "removed": num_removed,
        "orphans": count_orphans(removed, kept_score, rule),
    }


def count_orphans(removed: NDArray[np.bool_], kept_score: NDArray[np.float32], rule: Rule) -> int:
    """How many removed rows have no kept row within eps."""
    return int((removed & (kept_score.astype(np.float64) < 1 - rule.eps)).sum())
