"""Read what a report is made from out of an output folder. Only what a page needs is read, column by column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from curator_dask.data.beside_vectors.plain_clips import only_embeddings
from curator_dask.data.beside_vectors.quality_table import read_quality
from curator_dask.data.clip_index import has_clip_index, read_clip_index
from curator_dask.data.clusters import cluster_files
from curator_dask.data.decisions.read_decisions import decision_batches, decision_columns, decision_parts
from curator_dask.data.ids import id_texts
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.report.run_output import CLIP_COLUMNS, DROPPED, FAILED, KEPT, PLAIN, REMOVED, RunOutput

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

REMOVED_COLUMNS = (
    *("id", "kept_id", "max_id", "cosine_sim_score", "kept_score", "cluster", "eps", "reason"),
    *("offset_s", "cover", "kind", "kept_ids"),
)
OVERLAP_COLUMNS = ("id", "other_id", "start_s", "end_s", "offset_s", "picture", "motion", "kind", "other_reference")
_IDS = ("id", "kept_id", "max_id", "other_id")


def read_output(out: Folder) -> RunOutput:
    """The tables of an output. Raises InputError where nothing was decided there yet, or a file cannot be read."""
    decisions = out.below(layout.DUPLICATES)
    if not decision_parts(decisions) and not decisions.exists(layout.DUPLICATES_TABLE):
        raise InputError(
            f"{out.url} holds no {layout.DUPLICATES}/{layout.DUPLICATES_TABLE}: give the output folder of run, "
            "or run the steps up to identify first"
        )
    record = _json(out, layout.RUN_RECORD)
    kept, removed = _decided(decisions)
    dropped = _dropped(decisions)
    plain = _plain(out)
    plain = plain[~plain["id"].isin(dropped["id"])]
    decided_by = record.get("parameters", {}).get("identify", {})
    scores = _scores(out, str(decided_by.get("input_path", "")).rpartition("/")[2])
    scores = scores[~scores["id"].isin(dropped["id"])]
    clips = _clips(out, kept, removed, plain, dropped)
    overlaps = _overlaps(out) if decided_by.get("rule", "overlap") == "overlap" else None
    name = out.root.rstrip("/").rpartition("/")[2]
    quality = read_quality(out).to_pandas()
    return RunOutput(name, record, clips, removed, scores, overlaps, plain, _failures(out), dropped, quality)


def _decided(decisions: Folder) -> tuple[list[str], pd.DataFrame]:
    """The ids of the kept clips, and the removed clips with their groups.

    Where no groups are known, as of an addition to a run, those with one kept clip are a group.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: list[str] = []
    removed = [decision_columns().empty_table().select([*REMOVED_COLUMNS, "group_id"])]
    for batch in decision_batches(decisions, [*REMOVED_COLUMNS, "group_id", "removed"]):
        kept += batch.filter(pc.invert(batch["removed"]))["id"].to_pylist()
        removed.append(batch.filter(batch["removed"]).drop_columns("removed"))
    table = pa.concat_tables(removed, promote_options="permissive")
    table = table.sort_by([("cluster", "ascending"), ("id", "ascending")])
    frame = table.drop_columns("group_id").to_pandas()
    known = table["group_id"].null_count < len(table)
    return sorted(kept), frame.assign(group=table["group_id"].to_pandas() if known else frame["kept_id"])


def _clips(
    out: Folder, kept: list[str], removed: pd.DataFrame, plain: pd.DataFrame, dropped: pd.DataFrame
) -> pd.DataFrame:
    """The clips with their states; without a clip index, the rows that were decided on."""
    import pandas as pd

    states = {**dict.fromkeys(plain["id"], PLAIN), **dict.fromkeys(dropped["id"], DROPPED)}
    states |= {**dict.fromkeys(kept, KEPT), **dict.fromkeys(removed["id"], REMOVED)}
    if not has_clip_index(out):
        frame = pd.DataFrame({"id": list(states), "state": list(states.values())})
        return frame.reindex(columns=list(CLIP_COLUMNS)).astype({"start_s": float, "end_s": float, "num_bytes": float})
    columns = ["id", "relative_path", "start_s", "end_s", "width", "height", "num_bytes", "clip_path", "valid"]
    frame = read_clip_index(out, columns).to_pandas()
    there = {f"clips/{entry.path.removeprefix('clips/')}" for entry in out.entries("clips")}
    has_file = frame["valid"] & frame["clip_path"].fillna("").isin(there)
    frame = frame.rename(columns={"relative_path": "source"}).assign(has_file=has_file)
    frame = frame.assign(state=frame["id"].map(states).fillna(FAILED))
    return frame[list(CLIP_COLUMNS)]


def _scores(out: Folder, recorded: str) -> pd.DataFrame:
    """The similarity tables that were decided on; where that is not recorded, those across clusters if there are some."""
    import pandas as pd

    parts = []
    tables = (layout.CROSS_CLUSTER, layout.PAIRWISE)
    wanted = (recorded,) if recorded in tables else tables
    name = next((name for name in wanted if out.exists(name)), None)
    if name is not None:
        folder = out.below(name)
        for cluster, entry in cluster_files(folder).items():
            table = read_parquet(folder, entry.path, ["id", "max_id", "cosine_sim_score"])
            parts.append(_frame(table, ("id", "max_id", "cosine_sim_score")).assign(cluster=cluster))
    empty = pd.DataFrame({"id": [], "max_id": [], "cosine_sim_score": [], "cluster": []})
    return pd.concat(parts, ignore_index=True) if parts else empty


def _overlaps(out: Folder) -> pd.DataFrame | None:
    folder = out.below(layout.OVERLAPS)
    if not folder.exists(layout.OVERLAPS_TABLE):
        return None
    frame = _frame(read_parquet(folder, layout.OVERLAPS_TABLE), OVERLAP_COLUMNS)
    return frame[~frame["other_reference"].fillna(value=False).astype(bool)]


def _plain(out: Folder) -> pd.DataFrame:
    import pandas as pd

    embeddings = only_embeddings(out)
    if embeddings is None or not embeddings.exists(layout.PLAIN_CLIPS):
        return pd.DataFrame({"id": [], "source": [], "reason": []}, dtype=object)
    return _frame(read_parquet(embeddings, layout.PLAIN_CLIPS), ("id", "source", "reason"))


def _dropped(decisions: Folder) -> pd.DataFrame:
    import pandas as pd

    columns = ("id", "source", "reason", "column", "value", "limit")
    if not decisions.exists(layout.DROPPED_TABLE):
        return pd.DataFrame({name: [] for name in columns}, dtype=object)
    return _frame(read_parquet(decisions, layout.DROPPED_TABLE), columns)


def _frame(table: pa.Table, columns: tuple[str, ...]) -> pd.DataFrame:
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
    return pa.table(found).to_pandas()


def _failures(out: Folder) -> list[dict[str, Any]]:
    if not out.exists(layout.FAILURES):
        return []
    lines = out.read_bytes(layout.FAILURES).decode("utf-8", "replace").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _json(out: Folder, name: str) -> dict[str, Any]:
    """A JSON object; empty where there is no such file. Raises InputError for another file."""
    if not out.exists(name):
        return {}
    try:
        value = json.loads(out.read_bytes(name))
    except ValueError as error:
        raise InputError(f"{out.join(name)} cannot be read: {error}. Repeat the run that made it") from error
    return value if isinstance(value, dict) else {}
