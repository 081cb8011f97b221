"""What is known of clips, from all files that say something of them: tables of bounded size, each with a column ``id``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.data.beside_vectors.plain_clips import only_embeddings, read_plain_ids
from curator_dask.data.beside_vectors.quality_table import quality_beside_vectors
from curator_dask.data.clip_index import clip_index_batches, clip_index_files, clip_index_schema
from curator_dask.data.clusters import cluster_files, count_rows
from curator_dask.data.decisions.read_decisions import decision_batches, has_decisions
from curator_dask.data.ids import id_column, id_texts
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.export.planned.columns import QUALITY
from curator_dask.export.samples import CLIP_SCHEMA
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_batches
from curator_dask.runtime.records import hashes_of
from curator_dask.runtime.state import StageState
from curator_dask.stages.export.clips.keep_list import keep_list_batches

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 65_536
KEPT, REMOVED, DROPPED, PLAIN, LISTED = range(5)
"""What a mark says of a clip: a decision, that it is too plain for a vector, that the keep list names it."""
SCORES: Final = ("cosine_sim_score", "max_id", "cluster")
_FOLDER, _ENDING = layout.clip_path("\0").split("\0")


@dataclass(frozen=True)
class Sources:
    """The files that tell which clips are exported, and what is known of them; see `ExportStage`."""

    clips: Folder
    decisions: Folder | None
    scores: Folder | None
    embeddings: Folder | None
    keep_list: str | None
    id_field: str
    keeps_plain: bool

    def num_clips(self) -> int:
        """The rows of the clip index. Raises InputError if there is none."""
        return count_rows(self.clips, clip_index_files(self.clips))

    def index(self) -> Iterator[pa.Table]:
        """The rows of the clip index, with all columns that an export may need."""
        there = clip_index_schema(self.clips).names
        names = [name for name in (*CLIP_SCHEMA, *QUALITY) if name in there]
        return clip_index_batches(self.clips, [*names, "valid", "clip_path"])

    def marks(self) -> Iterator[pa.Table]:
        """``id``, as bytes, and ``mark``.

        Raises InputError if there are no decisions where they were asked for.
        """
        plain = read_plain_ids(self.embeddings or only_embeddings(self.clips))
        if self.decisions is not None:
            yield from _decided(self.decisions)
        if self.decisions is not None:
            yield from _marked(DROPPED, _listed_ids(self.decisions, layout.DROP_LIST))
        yield from _marked(PLAIN, [sorted(plain)])
        if self.keep_list is not None:
            yield from _marked(LISTED, keep_list_batches(self.keep_list, self.clips.storage_options))

    def media(self) -> Iterator[pa.Table]:
        """``id`` and ``num_bytes`` of the media files that are there."""
        entries = self.clips.each_entry(_FOLDER.rstrip("/"))
        found = ((_clip_of(entry.path), entry.num_bytes) for entry in entries)
        return _tables(((clip, size) for clip, size in found if clip), ("id", "num_bytes"), ("large_string", "int64"))

    def quality(self) -> Iterator[pa.Table]:
        """``id`` and the quality columns of clips whose frames the embed stage saw; the others are in the index."""
        return quality_beside_vectors(self.clips, self.embeddings)

    def groups(self) -> Iterator[pa.Table]:
        """``id`` and ``group``, as texts, of the kept clips that belong to a group of duplicates."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.decisions is None:
            return
        for batch in decision_batches(self.decisions, ["id", "removed", "group_id"]):
            kept = batch.filter(pc.and_(pc.invert(batch["removed"]), batch["group_id"].is_valid()))
            yield pa.table({"id": kept["id"], "group": kept["group_id"].cast(pa.string())})

    def scored(self) -> Iterator[pa.Table]:
        """``id`` and `SCORES` from the similarity tables; nothing where none were given."""
        import pyarrow as pa

        if self.scores is None:
            return
        for cluster, entry in cluster_files(self.scores).items():
            table = read_parquet(self.scores, entry.path, [self.id_field, "max_id", "cosine_sim_score"])
            ids, best = (id_texts(pa.chunked_array([id_column(table, name)])) for name in (self.id_field, "max_id"))
            score = table["cosine_sim_score"].cast(pa.float64())
            yield pa.table([ids, score, best, pa.repeat(cluster, len(table))], names=["id", *SCORES])

    def hashes(self) -> Iterator[pa.Table]:
        """``id`` and ``content_hash`` of the media files, as far as the split stage recorded them."""
        records = StageState(self.clips, "split").records()
        found = (item for record in records for item in hashes_of(record.outputs).items())
        named = ((_clip_of(path), content_hash) for path, content_hash in found)
        kinds = ("large_string", "large_string")
        return _tables(((clip, one) for clip, one in named if clip), ("id", "content_hash"), kinds)


def _decided(decisions: Folder) -> Iterator[pa.Table]:
    import pyarrow as pa

    if not has_decisions(decisions):
        raise InputError(f"{decisions.url} holds no {layout.KEEP_LIST}: run the identify stage into it first")
    for batch in decision_batches(decisions, ["id", "removed"]):
        marks = np.where(batch["removed"].to_numpy(zero_copy_only=False), REMOVED, KEPT).astype(np.uint8)
        yield pa.table({"id": batch["id"].cast(pa.large_binary()), "mark": pa.array(marks)})


def _listed_ids(folder: Folder, name: str) -> Iterator[list[str]]:
    if folder.exists(name):
        with folder.open(name) as stream:
            yield from id_list_batches(stream)


def _marked(mark: int, batches: Iterable[list[str]]) -> Iterator[pa.Table]:
    """Ids with one mark. They are bytes, as those of a list need not be valid text."""
    import pyarrow as pa

    for ids in batches:
        raw = pa.array((one.encode("utf-8", "surrogateescape") for one in ids), pa.large_binary())
        yield pa.table({"id": raw, "mark": pa.array(np.full(len(raw), mark, np.uint8))})


def _clip_of(path: str) -> str:
    """The clip whose media file this is; "" for other files, and for names that no id of a table can be."""
    if not path.startswith(_FOLDER) or not path.endswith(_ENDING):
        return ""
    clip = path[len(_FOLDER) : -len(_ENDING)]
    return clip if clip.isascii() or _is_text(clip) else ""


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _tables(rows: Iterable[tuple[Any, ...]], names: tuple[str, ...], kinds: tuple[str, ...]) -> Iterator[pa.Table]:
    """Rows as tables of bounded size."""
    import pyarrow as pa

    schema, rows = pa.schema([(name, getattr(pa, kind)()) for name, kind in zip(names, kinds, strict=True)]), iter(rows)
    while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
        yield pa.table(list(map(list, zip(*some, strict=True))), schema=schema)
