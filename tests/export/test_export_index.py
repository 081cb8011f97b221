from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator_dask.data.tables import parquet_bytes, write_parquet_file
from curator_dask.export.index import index_schema, index_table
from curator_dask.export.planned.columns import record_table


def path_of(clip_id):
    return f"clips/{clip_id}.mp4"


def by_id(clips):
    return record_table(clips).sort_by("id")


def test_one_row_a_clip_sorted_by_id(record):
    clips = [record(number) for number in range(20)]
    table = pq.read_table(io.BytesIO(parquet_bytes(index_table(by_id(clips), path_of, removed={record(3).id}))))
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
    first, second = (parquet_bytes(index_table(by_id(order), path_of)) for order in (clips, clips[::-1]))
    assert first == second


def test_names_that_are_no_text_are_kept_readable(record):
    table = index_table(record_table([record(1, source_video="caf\udce9.mp4")]), lambda _: "caf\udce9.mp4")
    assert table.column("source").to_pylist() == table.column("path").to_pylist() == ["caf\\udce9.mp4"]


def test_a_file_in_pieces_has_the_bytes_of_the_whole_table(tmp_path):
    n = 140_000
    table = pa.table(
        {"id": [f"{i:032x}" for i in range(n)], "x": np.arange(n) / 7, "l": [[i] if i % 3 else None for i in range(n)]}
    )
    for rows, size in ((n, 7001), (131_072, 65_536), (1, 1)):
        pieces = (table.slice(start, size) for start in range(0, rows, size))
        write_parquet_file(tmp_path / "t.parquet", table.schema, (piece.slice(0, rows) for piece in pieces))
        assert (tmp_path / "t.parquet").read_bytes() == parquet_bytes(table.slice(0, rows))
