from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest

from curator_dask.data.tables import parquet_bytes
from curator_dask.errors import InputError
from curator_dask.export.index import index_schema, index_table


def path_of(clip):
    return f"clips/{clip.id}.mp4"


def test_one_row_a_clip_sorted_by_id(record):
    clips = [record(number) for number in range(20)]
    table = pq.read_table(io.BytesIO(parquet_bytes(index_table(clips, path_of, removed={record(3).id}))))
    assert table.schema.names == index_schema().names
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == sorted(clip.id for clip in clips)
    assert [row["id"] for row in rows if not row["kept"]] == [record(3).id]
    assert next(row for row in rows if row["id"] == record(7).id) == {
        "id": record(7).id,
        "path": f"clips/{record(7).id}.mp4",
        "source": "/videos/film 1.mp4",
        "start_s": 20.0,
        "end_s": 30.0,
        "num_bytes": 1007,
        "codec": "h264",
        "framerate": 10.0,
        "width": 64,
        "height": 48,
        "num_frames": 5,
        "cosine_sim_score": 0.07,
        "max_id": "",
        "kept": True,
    }


def test_equal_clips_give_equal_bytes(record):
    clips = [record(number) for number in range(50)]
    first, second = (parquet_bytes(index_table(order, path_of)) for order in (clips, reversed(clips)))
    assert first == second


def test_names_that_are_no_text_are_kept_readable(record):
    table = index_table([record(1, source_video="caf\udce9.mp4")], lambda clip: clip.source_video)
    assert table.column("source").to_pylist() == table.column("path").to_pylist() == ["caf\\udce9.mp4"]


def test_no_clips_and_doubled_clips(record):
    with pytest.raises(InputError, match="no clips for the index"):
        index_table([], path_of)
    with pytest.raises(InputError, match=f"clip {record(1).id} occurs twice"):
        index_table([record(1), record(2), record(1)], path_of)
