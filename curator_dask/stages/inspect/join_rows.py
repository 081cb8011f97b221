"""What is known of the clips of a finished output, joined for its report: bucket by bucket, by the places of ids.

::

    index, decisions, scores, media, quality ── by id ──> clips, scores, quality; removed clips ── by kept id ──> whether
    the kept clip is of the same video ── by group ──> groups
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.data.clip_index import QUALITY_COLUMNS
from curator_dask.data.decisions.read_decisions import decision_columns
from curator_dask.files.buckets.buckets import Buckets, buckets_for
from curator_dask.files.buckets.meeting import gather, read_bucket, rows_of
from curator_dask.files.layout import clip_path
from curator_dask.report.run_output import DROPPED, FAILED, KEPT, PLAIN, REMOVED, Frames
from curator_dask.stages.inspect.sources import REMOVED_COLUMNS, Sources

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass
class Joined:
    """The joined rows, as `RunOutput` has them."""

    clips: Frames
    removed: Frames
    groups: Frames
    scores: Frames
    overlaps: Frames | None
    quality: Frames
    eps: float | None


def join_rows(sources: Sources, plain: pd.DataFrame, dropped: pd.DataFrame, scratch: Path) -> Joined:
    """Join what all files say. Memory holds one bucket; the others are files in `scratch`."""
    by_id = _ById(sources, {**dict.fromkeys(plain["id"], PLAIN), **dict.fromkeys(dropped["id"], DROPPED)}, scratch)
    for number in range(by_id.num_buckets):
        by_id.join(number)
    removed = _with_same_source(by_id.removed, by_id.clips, scratch)
    groups = _groups(removed, scratch, knows_groups=by_id.knows_groups)
    overlaps = sources.overlaps()
    return Joined(
        clips=_frames(by_id.clips),
        removed=_frames(removed),
        groups=_frames(groups),
        scores=_frames(by_id.scores),
        overlaps=None if overlaps is None else _frames(_overlaps(overlaps, by_id.clips, scratch)),
        quality=_frames(by_id.quality),
        eps=by_id.eps,
    )


class _ById:
    """Buckets in which all that is known of a clip meets."""

    def __init__(self, sources: Sources, set_aside: Mapping[str, str], scratch: Path) -> None:
        self._scratch, self.num_buckets = scratch, buckets_for(sources.num_clips())
        self.eps: float | None = None
        self.knows_groups = False
        self._index, self._media = self._gather(sources.index()), self._gather(sources.media())
        self._decided = self._gather(map(self._seen, sources.decided()))
        self._set_aside = self._gather([_state_table(set_aside)])
        self._scored, self._quality = self._gather(sources.scored()), self._gather(sources.quality())
        schemas = (CLIPS, SCORES, removed_columns(), _quality_columns())
        self.clips, self.scores, self.removed, self.quality = (
            Buckets(scratch, self.num_buckets, _schema(columns)) for columns in schemas
        )

    def _gather(self, tables: Iterable[pa.Table]) -> Buckets | None:
        return gather(tables, self._scratch, self.num_buckets)

    def _seen(self, decided: pa.Table) -> pa.Table:
        """The rows as they are; the first eps of them is kept, and whether there are groups."""
        removed = decided.filter(decided["removed"])
        self.knows_groups = self.knows_groups or removed["group_id"].null_count < len(removed)
        self.eps = removed["eps"][0].as_py() if self.eps is None and len(removed) else self.eps
        return decided

    def join(self, number: int) -> None:
        """Join the rows of one bucket."""
        decided, index = read_bucket(self._decided, number), read_bucket(self._index, number)
        states = _states(read_bucket(self._set_aside, number), decided)
        clips = (
            _without_index(states) if self._index is None else _clips(index, states, read_bucket(self._media, number))
        )
        _add(self.clips, clips, number)
        _add(self.removed, _removed(decided, clips), number)
        _add(self.scores, _scores(read_bucket(self._scored, number), clips, states), number)
        for quality in _quality(index, read_bucket(self._quality, number)):
            _add(self.quality, quality, number)


def _add(buckets: Buckets, rows: pa.Table | None, number: int) -> None:
    if rows is not None:
        buckets.add(rows.cast(buckets.schema), np.full(len(rows), number, np.int64))


def _frames(buckets: Buckets) -> Frames:
    """All rows as frames; of no rows an empty one, which has the columns."""

    def frames() -> Iterator[pd.DataFrame]:
        for number, rows in enumerate(buckets.tables()):
            if len(rows) or not number:
                yield rows.to_pandas()

    return frames


Columns = Mapping[str, Any]
"""Column → its type, as the name of a function of pyarrow or as a type."""
CLIPS: Final[Columns] = {
    "id": "large_string", "source": "string", "start_s": "float64", "end_s": "float64", "width": "int64", "height": "int64",
    "num_bytes": "int64", "has_file": "bool_", "state": "string",
}  # fmt: skip
FACTS: Final = ("start_s", "end_s", "num_bytes", "state")
SCORES: Final[Columns] = {
    "id": "large_string", "max_id": "large_string", "cosine_sim_score": "float32", "cluster": "int64",
    **{name: CLIPS[name] for name in FACTS},
}  # fmt: skip
OVERLAPS: Final[Columns] = {
    "id": "large_string", "other_id": "large_string", "start_s": "float64", "end_s": "float64", "offset_s": "float64",
    "picture": "float64", "motion": "float64", "kind": "string",
    "state": "string", "start_of_clip_s": "float64", "end_of_clip_s": "float64", "other_state": "string",
}  # fmt: skip


def removed_columns() -> Columns:
    """Those of removed clips, with the video of each."""
    known = decision_columns()
    return {**{name: known.field(name).type for name in (*REMOVED_COLUMNS, "group_id")}, "source": "string"}


def _quality_columns() -> Columns:
    return {"id": "large_string", **dict.fromkeys(QUALITY_COLUMNS, "float64")}


def _schema(columns: Columns) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, getattr(pa, kind)() if isinstance(kind, str) else kind) for name, kind in columns.items()])


def _state_table(states: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"id": pa.array(states.keys(), pa.large_string()), "state": pa.array(states.values(), pa.string())})


def _states(set_aside: pa.Table | None, decided: pa.Table | None) -> dict[str, str]:
    """The state of each clip of a bucket; a decision counts before all else."""
    import pyarrow.compute as pc

    found: dict[str, str] = {}
    if set_aside is not None:
        found |= dict(zip(set_aside["id"].to_pylist(), set_aside["state"].to_pylist(), strict=True))
    if decided is not None:
        found |= dict.fromkeys(decided.filter(pc.invert(decided["removed"]))["id"].to_pylist(), KEPT)
        found |= dict.fromkeys(decided.filter(decided["removed"])["id"].to_pylist(), REMOVED)
    return found


def _without_index(states: Mapping[str, str]) -> pa.Table:
    """Clips of which only the state is known."""
    import pyarrow as pa

    found = _state_table(states)
    return pa.table(
        [found[name] if name in found.column_names else pa.nulls(len(found)) for name in CLIPS], names=list(CLIPS)
    )


def _clips(index: pa.Table | None, states: Mapping[str, str], media: pa.Table | None) -> pa.Table | None:
    """The clips of the index, with their states and whether their files are there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if index is None:
        return None
    there = media["id"].combine_chunks() if media is not None else pa.array([], pa.large_binary())
    has_file = pc.is_in(index["id"].cast(pa.large_string()).cast(pa.large_binary()), value_set=there)
    has_file = pc.and_(
        pc.and_(index["valid"], has_file), pc.equal(pc.fill_null(index["clip_path"], ""), _paths(index["id"]))
    )
    state = [states.get(name, FAILED) for name in index["id"].to_pylist()]
    found = {"source": index["relative_path"], "has_file": has_file, "state": pa.array(state, pa.string())}
    return pa.table([found[name] if name in found else index[name] for name in CLIPS], names=list(CLIPS))


def _paths(ids: pa.ChunkedArray) -> Any:
    """The paths of the media files of clips."""
    import pyarrow.compute as pc

    before, after = clip_path("\0").split("\0")
    return pc.binary_join_element_wise(before, ids.cast("string"), after, "")


def _removed(decided: pa.Table | None, clips: pa.Table | None) -> pa.Table | None:
    """The removed clips, with their videos."""
    if decided is None:
        return None
    removed = decided.filter(decided["removed"]).drop_columns(["removed"])
    return removed.append_column("source", _looked_up(removed["id"], clips, "source"))


def _looked_up(ids: Any, rows: pa.Table | None, name: str) -> Any:
    """(n,) a column of the rows with these ids; null where there is none, or where the id is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if rows is None or not len(rows):
        return pa.nulls(len(ids), _schema(CLIPS).field(name).type)
    at = rows_of(ids, rows)
    return rows[name].take(pc.if_else(pc.is_valid(ids), at, None))


def _scores(scored: pa.Table | None, clips: pa.Table | None, states: Mapping[str, str]) -> pa.Table | None:
    """The scores of clips that were not dropped, with what is known of the clips."""
    import pyarrow as pa

    if scored is None:
        return None
    rows = scored.filter(pa.array([states.get(name) != DROPPED for name in scored["id"].to_pylist()], pa.bool_()))
    for name in FACTS:
        rows = rows.append_column(name, _looked_up(rows["id"], clips, name))
    return rows


def _quality(index: pa.Table | None, beside: pa.Table | None) -> Iterator[pa.Table]:
    """The quality of the clips that have it, each once: of the index, else of the table beside the vectors."""
    import pyarrow.compute as pc

    names = ["id", *QUALITY_COLUMNS]
    own = index.select(names) if index is not None and QUALITY_COLUMNS[0] in index.column_names else None
    if own is not None:
        own = own.filter(own[QUALITY_COLUMNS[0]].is_valid())
        yield own
    if beside is not None:
        _, first = np.unique(np.array(beside["id"].to_pylist(), object), return_index=True)
        once = beside.select(names).take(first)
        yield once if own is None else once.filter(pc.is_null(rows_of(once["id"], own)))


def _with_same_source(removed: Buckets, clips: Buckets, scratch: Path) -> Buckets:
    """The removed clips, each with whether its kept clip is of the same video."""
    import pyarrow.compute as pc

    columns = {**removed_columns(), "same_source": "bool_"}
    found = Buckets(scratch, removed.num_buckets, _schema(columns))
    by_kept = gather(removed.tables(), scratch, removed.num_buckets, by=lambda rows: pc.fill_null(rows["kept_id"], ""))
    for number in range(removed.num_buckets):
        if (rows := read_bucket(by_kept, number)) is not None:
            same = pc.equal(rows["source"], _looked_up(rows["kept_id"], clips.read(number), "source"))
            _add(found, rows.append_column("same_source", pc.fill_null(same, False)), number)
    return found


def _groups(removed: Buckets, scratch: Path, *, knows_groups: bool) -> Buckets:
    """The removed clips with a kept one, by their groups. Where no groups are known, those with one kept clip are a group."""
    import pyarrow.compute as pc

    def with_groups() -> Iterator[pa.Table]:
        for rows in removed.tables():
            group = rows["group_id"].cast("large_string") if knows_groups else rows["kept_id"]
            yield rows.append_column("group", group).filter(pc.and_(rows["kept_id"].is_valid(), group.is_valid()))

    found = gather(with_groups(), scratch, removed.num_buckets, by=lambda rows: rows["group"])
    columns = {**removed_columns(), "same_source": "bool_", "group": "large_string"}
    return found if found is not None else Buckets(scratch, removed.num_buckets, _schema(columns))


def _overlaps(tables: Iterable[pa.Table], clips: Buckets, scratch: Path) -> Buckets:
    """Overlaps with the state of both clips, and with the span of the first."""
    found = Buckets(scratch, clips.num_buckets, _schema(OVERLAPS))
    rows = gather(_with_first(tables, clips, scratch), scratch, clips.num_buckets, by=lambda rows: rows["other_id"])
    for number in range(clips.num_buckets):
        if (some := read_bucket(rows, number)) is not None:
            state = _looked_up(some["other_id"], clips.read(number), "state")
            _add(found, some.append_column("other_state", state), number)
    return found


def _with_first(tables: Iterable[pa.Table], clips: Buckets, scratch: Path) -> Iterator[pa.Table]:
    rows = gather(tables, scratch, clips.num_buckets)
    for number in range(clips.num_buckets):
        if (some := read_bucket(rows, number)) is not None:
            known = clips.read(number)
            for name, column in (("state", "state"), ("start_of_clip_s", "start_s"), ("end_of_clip_s", "end_s")):
                some = some.append_column(name, _looked_up(some["id"], known, column))
            yield some
