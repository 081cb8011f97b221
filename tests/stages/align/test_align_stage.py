"""The align stage: tracks in, ``overlaps.parquet`` out; resumable, the same for any number of workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import AlignStage, FolderInUseError, InputError, ParameterError, align_clips
from curator_dask.data.beside_vectors.track_files import TrackRow, write_tracks
from curator_dask.dedup.align.in_cells import centres
from curator_dask.dedup.align.mirror import mirror_signs
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.stages.align import cell_passes, groups
from curator_dask.stages.base import RunContext
from tests.dedup.align.lines import scene, track


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """Three videos in clips of ten seconds: a film of 30 s, a copy of it that begins 3.5 s later, and another film."""
    film = scene(1, 60)
    write_video(tmp_path / "vectors", "film", film)
    write_video(tmp_path / "vectors", "copy", film[7:])
    write_video(tmp_path / "vectors", "other", scene(2, 60))
    return tmp_path / "vectors"


def write_video(folder: Path, name: str, rows: np.ndarray[Any, Any]) -> None:
    clips = [
        TrackRow(f"{name}-{at // 20}", f"{name}.mp4", track(rows[at : at + 20], start_s=at / 2))
        for at in range(0, len(rows), 20)
    ]
    write_tracks(Folder(str(folder)), f"{layout.TRACKS}/{name}.parquet", clips)


def read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "overlaps.parquet").to_pylist()
    return rows


def test_clips_of_a_shifted_copy_share_stretches_with_the_original(
    tracks: Path, tmp_path: Path, context: RunContext
) -> None:
    result = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "out")).run(context=context)

    rows = read(tmp_path / "out")
    told = [(row["id"], row["other_id"], row["start_s"], row["end_s"], row["offset_s"], row["kind"]) for row in rows]
    assert told == [
        ("copy-0", "film-0", 0.0, 6.5, -3.5, "shifted"),
        ("copy-0", "film-1", 6.5, 10.0, 6.5, "shifted"),
        ("copy-1", "film-1", 0.0, 6.5, -3.5, "shifted"),
        ("copy-1", "film-2", 6.5, 10.0, 6.5, "shifted"),
        ("copy-2", "film-2", 0.0, 6.5, -3.5, "shifted"),
    ]
    assert all(row["other_end_s"] - row["other_start_s"] == row["end_s"] - row["start_s"] for row in rows)
    assert all(row["motion"] > 0.99 for row in rows)
    assert result.counts == {"clips": 9, "overlaps": 5}


def test_every_clip_with_a_track_is_in_the_clip_table(tracks: Path, tmp_path: Path, context: RunContext) -> None:
    AlignStage(input_path=str(tracks), output_path=str(tmp_path / "out")).run(context=context)

    table = pq.read_table(tmp_path / "out" / "clips.parquet").to_pylist()
    assert [row["id"] for row in table] == [f"{name}-{i}" for name in ("copy", "film", "other") for i in range(3)]
    where = {"id": "copy-2", "source": "copy.mp4", "start_s": 20.0, "end_s": 26.5}
    assert table[2] == {**where, "reference": False, "reference_number": 0}


def test_the_same_bytes_for_other_groups_and_a_second_run_does_nothing(
    tracks: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "one"))
    first.run(context=context)
    monkeypatch.setattr(groups, "GROUP_WINDOWS", 1)
    second = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "three"))
    result = second.run(context=context)

    assert result.num_run == 6
    assert second.run(context=context).num_run == 0
    one, three = ((tmp_path / name / "overlaps.parquet").read_bytes() for name in ("one", "three"))
    assert one == three


def test_a_unit_whose_file_is_gone_is_done_again(tracks: Path, tmp_path: Path, context: RunContext) -> None:
    stage = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "out"))
    stage.run(context=context)
    before = (tmp_path / "out" / "overlaps.parquet").read_bytes()
    (tmp_path / "out" / ".curator" / "align" / "units" / "pair-00000-00000.arrow").unlink()
    (tmp_path / "out" / "overlaps.parquet").unlink()

    assert stage.run(context=context).num_run == 1
    assert (tmp_path / "out" / "overlaps.parquet").read_bytes() == before


def test_other_thresholds_are_taken_with_a_word_and_other_tracks_refused(
    tracks: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    AlignStage(input_path=str(tracks), output_path=out).run(context=context)

    notes: list[str] = []
    monkeypatch.setattr(context.reporter, "note", notes.append)
    assert AlignStage(input_path=str(tracks), output_path=out, strictness=0.5).run(context=context).num_run == 1
    (note,) = notes
    assert "strictness" in note
    with pytest.raises(FolderInUseError, match="exhaustive_groups"):
        AlignStage(input_path=str(tracks), output_path=out, strictness=0.5, exhaustive_groups=1).run(context=context)


def test_a_folder_without_tracks_is_refused(tmp_path: Path, context: RunContext) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError, match="holds no tracks"):
        AlignStage(input_path=str(tmp_path / "empty"), output_path=str(tmp_path / "out")).run(context=context)


@pytest.mark.parametrize("parameters", [{"strictness": 2}, {"min_still_likeness": -0.1}, {"input_path": ""}])
def test_parameters_that_cannot_be_meant_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        AlignStage(**{"input_path": "in", "output_path": "out", **parameters})


def test_the_function_does_what_the_stage_does(tracks: Path, tmp_path: Path) -> None:
    assert align_clips(str(tracks), str(tmp_path / "out")).counts["overlaps"] == 5


@pytest.mark.parametrize("group_windows", [1, 20_000])
def test_comparing_within_cells_finds_the_same(
    tracks: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch, group_windows: int
) -> None:
    slide = np.random.default_rng(0).integers(0, 255, 1024).astype(np.uint8)
    for name in ("talk", "talk again"):
        clip = TrackRow(name, name, track(np.repeat(scene(3, 1), 20, axis=0), picture=slide))
        write_tracks(Folder(str(tracks)), f"{layout.TRACKS}/{name}.parquet", [clip])
    AlignStage(input_path=str(tracks), output_path=str(tmp_path / "all")).run(context=context)
    monkeypatch.setattr(groups, "GROUP_WINDOWS", group_windows)
    stage = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "cells"), exhaustive_groups=0)
    stage.run(context=context)

    assert len(read(tmp_path / "all")) == 6
    assert read(tmp_path / "cells") == read(tmp_path / "all")
    assert stage.run(context=context).num_run == 0
    assert not list((tmp_path / "cells" / ".curator" / "align" / "between").glob("*"))


@pytest.mark.parametrize("centres_at_once", [256, 4])
def test_many_cells_find_nearly_all_that_a_comparison_of_all_lines_finds(
    tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch, centres_at_once: int
) -> None:
    random = np.random.default_rng(0)
    for number in range(30):
        film, first = scene(100 + number, 60), int(random.integers(0, 30))
        write_video(tmp_path / "vectors", f"film{number:02d}", film)
        copy = film[first : first + 30]
        write_video(tmp_path / "vectors", f"copy{number:02d}", copy + random.normal(0, 10, copy.shape))
    AlignStage(input_path=str(tmp_path / "vectors"), output_path=str(tmp_path / "all")).run(context=context)
    monkeypatch.setattr(groups, "GROUP_WINDOWS", 1000)
    monkeypatch.setattr(cell_passes, "CELL_SEGMENTS", 200)
    monkeypatch.setattr(centres, "AT_ONCE", centres_at_once)
    monkeypatch.setattr(centres, "OF_PART", min(centres.OF_PART, centres_at_once))
    monkeypatch.setattr(centres, "LEAST_OF_PART", min(centres.LEAST_OF_PART, centres_at_once))
    cells = AlignStage(input_path=str(tmp_path / "vectors"), output_path=str(tmp_path / "cells"), exhaustive_groups=0)
    cells.run(context=context)

    every, found = ({tuple(row.items()) for row in read(tmp_path / name)} for name in ("all", "cells"))
    assert len(every) >= 60
    assert len(every & found) >= 0.99 * len(every)
    assert len(found - every) <= 0.01 * len(every)


def test_clips_too_short_for_a_segment_are_found_in_cells_too(
    tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        film = scene(200 + number, 40)
        write_video(tmp_path / "vectors", f"film{number:02d}", film)
        write_video(tmp_path / "vectors", f"short{number:02d}", film[9:15] + random.normal(0, 3, (6, film.shape[1])))
    AlignStage(input_path=str(tmp_path / "vectors"), output_path=str(tmp_path / "all")).run(context=context)
    monkeypatch.setattr(groups, "GROUP_WINDOWS", 100)
    monkeypatch.setattr(cell_passes, "CELL_SEGMENTS", 12)
    AlignStage(input_path=str(tmp_path / "vectors"), output_path=str(tmp_path / "cells"), exhaustive_groups=0).run(
        context=context
    )

    rows = read(tmp_path / "cells")
    pairs = {tuple(sorted((row["id"], row["other_id"]))) for row in rows}
    assert pairs == {(f"film{number:02d}-0", f"short{number:02d}-0") for number in range(12)}
    assert rows == read(tmp_path / "all")


@pytest.mark.parametrize("how", [{}, {"exhaustive_groups": 0}])
@pytest.mark.parametrize("group_windows", [1, 20_000])
def test_mirrored_copies_are_found_where_they_are_asked_for(
    tracks: Path,
    tmp_path: Path,
    context: RunContext,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    group_windows: int,
) -> None:
    monkeypatch.setattr(groups, "GROUP_WINDOWS", group_windows)
    turned = scene(1, 60) * mirror_signs(66)
    write_video(tmp_path / "vectors", "mirror", turned[11:51])
    write_video(tmp_path / "vectors", "within itself", np.concatenate([scene(7, 20), scene(7, 20) * mirror_signs(66)]))
    slide = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    for name, picture in (("talk", slide), ("turned", slide[:, ::-1])):
        sign = 1 if name == "talk" else mirror_signs(66)
        clip = TrackRow(name, name, track(np.repeat(scene(3, 1) * sign, 20, axis=0), picture=picture.ravel()))
        write_tracks(Folder(str(tracks)), f"{layout.TRACKS}/{name}.parquet", [clip])
    stage = AlignStage(input_path=str(tracks), output_path=str(tmp_path / "out"), **how)
    assert stage.run(context=context).counts["overlaps"] == 5

    replace(stage, mirrored=True).run(context=context)

    found = [(row["id"], row["other_id"], row["offset_s"], row["kind"]) for row in read(tmp_path / "out")]
    assert [row for row in found if row[3] != "shifted"] == [
        ("copy-0", "mirror-0", 2.0, "mirrored"),
        ("copy-1", "mirror-0", -8.0, "mirrored"),
        ("copy-1", "mirror-1", 2.0, "mirrored"),
        ("copy-2", "mirror-1", -8.0, "mirrored"),
        ("film-0", "mirror-0", 5.5, "mirrored"),
        ("film-1", "mirror-0", -4.5, "mirrored"),
        ("film-1", "mirror-1", 5.5, "mirrored"),
        ("film-2", "mirror-1", -4.5, "mirrored"),
        ("talk", "turned", 0.0, "still"),
        ("within itself-0", "within itself-1", 0.0, "mirrored"),
    ]
    assert len(found) == 15


def test_a_mirrored_clip_of_a_reference_is_found(tracks: Path, tmp_path: Path, context: RunContext) -> None:
    write_video(tmp_path / "new", "film", scene(1, 20) * mirror_signs(66))
    AlignStage(
        input_path=str(tmp_path / "new"), output_path=str(tmp_path / "out"), reference_path=str(tracks), mirrored=True
    ).run(context=context)

    found = [(row["id"], row["other_id"], row["kind"], row["other_reference"]) for row in read(tmp_path / "out")]
    assert found == [("film-0", "copy-0", "mirrored", True), ("film-0", "film-0", "mirrored", True)]
