"""The tables of the align stage have the bytes of one sort, whatever the order and the names of clips and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError
from curator_dask.data.beside_vectors.track_files import track_table
from curator_dask.data.beside_vectors.track_index import TrackIndex, read_track_index
from curator_dask.data.tables import parquet_bytes, write_arrow
from curator_dask.files import layout
from curator_dask.files.buckets import sorted_rows
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.align.groups import group_sources
from curator_dask.stages.align.shared_stretches import SharedStretch, overlap_schema, overlap_table
from curator_dask.stages.align.stage import _publish_clips, _publish_overlaps

ODD = ["", " ", "a\nb", "漢字", "\U0001f600", "\uffff", "a,b", "z" * 2_000, "Z", "a\0"]
Row = tuple[str, str, float, int, str]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_rows, "BLOCK_ROWS", 60)
    monkeypatch.setattr(sorted_rows, "BATCH_ROWS", 5)


def _write_index(folder: Path, num_clips: int) -> list[Row]:
    """Files of tracks of which only the columns of the index count, with the clips of a source in several of them."""
    random = np.random.default_rng(num_clips)
    ids = [*ODD, *(f"clip-{number * 7919 % 100_003}" for number in range(num_clips))]
    sources = [*ODD, *(f"video {number}.mp4" for number in range(20))]
    (folder / layout.TRACKS).mkdir(parents=True)
    every: list[Row] = []
    for start in range(0, len(ids), 17):
        path = f"{layout.TRACKS}/{start:04d}.parquet"
        some = [
            (clip, sources[at % len(sources)], at % 4 * 10.0, int(random.integers(1, 21)), path)
            for clip in ids[start : start + 17]
            for at in [int(random.integers(1_000))]
        ]  # fmt: skip
        columns = list(zip(*some, strict=True))
        table = pa.table(dict(zip(("id", "source", "start_s", "num_windows"), columns, strict=False)))
        pq.write_table(table.cast(track_table([]).select(table.column_names).schema), folder / path)
        every += some
    return sorted(every, key=lambda row: (row[1], row[2], row[0]))


def _clips_in_one_table(indexes: Sequence[list[Row]]) -> bytes:
    rows = [
        (clip, source, start_s, start_s + windows / 2, number > 0, number)
        for number, index in enumerate(indexes)
        for clip, source, start_s, windows, _ in index
    ]
    kinds = [pa.string(), pa.string(), pa.float64(), pa.float64(), pa.bool_(), pa.int32()]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return parquet_bytes(pa.table(columns, ["id", "source", "start_s", "end_s", "reference", "reference_number"]))


@pytest.mark.parametrize("sizes", [(1,), (30,), (700, 100, 3)])
def test_the_clip_table_is_what_one_sort_gives(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    rows, indexes = list[list[Row]](), list[TrackIndex]()
    for number, num_clips in enumerate(sizes):
        rows.append(_write_index(tmp_path / f"{number}", num_clips))
        indexes.append(read_track_index(Folder(str(tmp_path / f"{number}")), tmp_path))
    _publish_clips(StageState(Folder(str(tmp_path / "out")), "align"), indexes)
    assert (tmp_path / "out" / layout.CLIP_INDEX).read_bytes() == _clips_in_one_table(rows)
    assert [index.num_clips for index in indexes] == [len(some) for some in rows]


def test_the_groups_are_those_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_dask.stages.align.groups.GROUP_WINDOWS", 400)
    rows = _write_index(tmp_path / "vectors", 700)
    index = read_track_index(Folder(str(tmp_path / "vectors")), tmp_path)
    groups = group_sources(index, first_number=5)
    assert [source for group in groups for source in group.sources] == list(dict.fromkeys(row[1] for row in rows))
    assert [group.number for group in groups] == list(range(5, 5 + len(groups)))
    for group in groups:
        own = [row for row in rows if row[1] in group.sources]
        assert group.paths == tuple(sorted({row[4] for row in own}))
        assert sum(row[3] for row in own) <= 400 or len(group.sources) == 1
    assert index.num_windows == sum(row[3] for row in rows)


def test_a_folder_without_tracks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tracks"):
        read_track_index(Folder(str(tmp_path)), tmp_path)


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / layout.TRACKS).mkdir()
    table = pa.table({"id": ["a"], "source": ["b"], "start_s": ["soon"], "num_windows": [1]})
    pq.write_table(table, tmp_path / layout.TRACKS / "odd.parquet")
    with pytest.raises(InputError, match=r"odd\.parquet: its columns have other types"):
        read_track_index(Folder(str(tmp_path)), tmp_path)


def _stretches(num_rows: int) -> list[SharedStretch]:
    """Overlaps of clips with odd names; many have the same place in the order, and differ in other columns."""
    random = np.random.default_rng(num_rows)

    def one(at: int) -> SharedStretch:
        clip, other, start, reference = (int(random.integers(size)) for size in (len(ODD), len(ODD), 3, 3))
        numbers = (float(start), start + 4.0, float(start), start + 4.0, at / 4, 0.5, 0.25, 1.0)
        return SharedStretch(ODD[clip], ODD[other], *numbers, "copy", reference > 0, reference)

    return [one(at) for at in range(num_rows)]


@pytest.mark.parametrize("num_rows", [0, 1, 59, 1_500])
def test_the_overlaps_are_what_one_sort_gives(tmp_path: Path, num_rows: int) -> None:
    state = StageState(Folder(str(tmp_path)), "align")
    rows, paths, tables = _stretches(num_rows), list[str](), [overlap_schema().empty_table()]
    for start in range(0, num_rows, 40):
        paths.append(state.beside_marker(f"group-{start:05d}"))
        tables.append(overlap_table(rows[start : start + 40]))
        write_arrow(state.folder, paths[-1], tables[-1])
    by = ("id", "other_reference_number", "other_id", "start_s", "other_start_s")
    one_sort = pa.concat_tables(tables).sort_by([(name, "ascending") for name in by])
    assert _publish_overlaps(state, paths[::-1], tmp_path) == num_rows
    assert (tmp_path / layout.OVERLAPS_TABLE).read_bytes() == parquet_bytes(one_sort)
    found = pq.read_table(tmp_path / layout.OVERLAPS_TABLE)
    assert sorted(map(tuple, (row.values() for row in found.to_pylist()))) == sorted(map(astuple, rows))
