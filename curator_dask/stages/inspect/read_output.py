"""Read what a report is made from out of an output folder. Only what a page needs is read, column by column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_dask.data.beside_vectors.plain_clips import only_embeddings
from curator_dask.data.decisions.read_decisions import decision_parts
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.report.run_output import RunOutput
from curator_dask.stages.inspect.join_rows import join_rows
from curator_dask.stages.inspect.sources import Sources, frame_of

if TYPE_CHECKING:
    import pandas as pd


def read_output(out: Folder, scratch: Path) -> RunOutput:
    """The tables of an output. Memory holds one bucket of clips; the others are files in `scratch` as long as it is there.

    Raises InputError where nothing was decided there yet, or a file cannot be read.
    """
    decisions = out.below(layout.DUPLICATES)
    if not decision_parts(decisions) and not decisions.exists(layout.DUPLICATES_TABLE):
        raise InputError(
            f"{out.url} holds no {layout.DUPLICATES}/{layout.DUPLICATES_TABLE}: give the output folder of run, "
            "or run the steps up to identify first"
        )
    record = _json(out, layout.RUN_RECORD)
    dropped = _dropped(decisions)
    plain = _plain(out)
    plain = plain[~plain["id"].isin(dropped["id"])]
    decided_by = record.get("parameters", {}).get("identify", {})
    tables = str(decided_by.get("input_path", "")).rpartition("/")[2]
    joined = join_rows(Sources(out, decisions, tables, decided_by.get("rule", "overlap")), plain, dropped, scratch)
    return RunOutput(
        out.root.rstrip("/").rpartition("/")[2],
        record,
        joined.clips,
        joined.removed,
        joined.groups,
        joined.scores,
        None if joined.overlaps is None else joined.overlaps,
        plain,
        _failures(out),
        dropped,
        joined.quality,
        joined.eps,
    )


def _plain(out: Folder) -> pd.DataFrame:
    import pandas as pd

    embeddings = only_embeddings(out)
    if embeddings is None or not embeddings.exists(layout.PLAIN_CLIPS):
        return pd.DataFrame({"id": [], "source": [], "reason": []}, dtype=object)
    return frame_of(read_parquet(embeddings, layout.PLAIN_CLIPS), ("id", "source", "reason"))


def _dropped(decisions: Folder) -> pd.DataFrame:
    import pandas as pd

    columns = ("id", "source", "reason", "column", "value", "limit")
    if not decisions.exists(layout.DROPPED_TABLE):
        return pd.DataFrame({name: [] for name in columns}, dtype=object)
    return frame_of(read_parquet(decisions, layout.DROPPED_TABLE), columns)


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
