"""Files of tracks: what is written comes back exactly, and a damaged file is told."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.data.beside_vectors.track_files import (
    TrackRow,
    read_tracks,
    track_table,
    write_tracks,
)
from curator_dask.data.tables import write_parquet
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder


def row(name: str, num_windows: int, num_stills: int, seed: int = 0) -> TrackRow:
    rng = np.random.default_rng(seed)
    windows = rng.integers(-(2**15), 2**15, (num_windows, 66), dtype=np.int16)
    usable = rng.random(num_windows) < 0.5
    stills = rng.integers(0, num_windows, (num_stills, 2), dtype=np.int32)
    pictures = rng.integers(0, 256, (num_stills, 1024), dtype=np.uint8)
    return TrackRow(name, f"{name}.mp4", ClipTrack(1.1 * seed, windows, usable, stills, pictures))


ROWS = [row("one window", 1, 0), row("some", 21, 3, seed=1), row("ünï\\x80", 8, 1, seed=2), row("eight", 8, 0, seed=3)]


def test_what_is_written_comes_back(tmp_path):
    folder = Folder(str(tmp_path))
    written = write_tracks(folder, "_tracks/a.parquet", ROWS[:3]), write_tracks(folder, "_tracks/b.parquet", ROWS[3:])
    assert written[0] == (tmp_path / "_tracks" / "a.parquet").stat().st_size
    found = list(read_tracks(folder, ["_tracks/a.parquet", "_tracks/b.parquet"]))
    assert [(one.id, one.source, one.track.start_s) for one in found] == [
        (one.id, one.source, one.track.start_s) for one in ROWS
    ]
    for got, given in zip(found, ROWS, strict=True):
        for name in ("windows", "usable", "stills", "pictures"):
            back, expected = getattr(got.track, name), getattr(given.track, name)
            assert back.dtype == expected.dtype
            assert back.tolist() == expected.tolist()


def test_what_stands_still_takes_no_room(tmp_path):
    still = ClipTrack(0.0, np.full((7200, 66), -777, np.int16), np.ones(7200, np.bool_), np.zeros((0, 2), np.int32),
                      np.zeros((0, 1024), np.uint8))  # fmt: skip
    assert write_tracks(Folder(str(tmp_path)), "hour.parquet", [TrackRow("hour", "hour", still)]) < 3000


@pytest.mark.parametrize("column", ["windows", "usable", "pictures"])
def test_a_damaged_track_is_named(tmp_path, column):
    table = track_table(ROWS[1:2])
    place = table.column_names.index(column)
    table = table.set_column(place, column, [[b"\1\2\3\4" if column != "usable" else None]])
    write_parquet(Folder(str(tmp_path)), "t.parquet", table)
    with pytest.raises(InputError, match="the track of 'some' is damaged"):
        list(read_tracks(Folder(str(tmp_path)), ["t.parquet"]))
