"""The align stage with a reference: clips of another output, whose names and ids may be those of new clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import AlignStage, InputError
from curator_dask.data.beside_vectors.track_files import TrackRow, write_tracks
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.stages.align import groups
from curator_dask.stages.base import RunContext
from tests.dedup.align.lines import scene, track
from tests.trees import tree

MODEL = "pdqf_tmk_nobars_embd_parquet"


def write_video(folder: Path, name: str, rows: np.ndarray[Any, Any]) -> None:
    """A video in clips of ten seconds."""
    clips = [
        TrackRow(f"{name}-{at // 20}", f"{name}.mp4", track(rows[at : at + 20], start_s=at / 2))
        for at in range(0, len(rows), 20)
    ]
    write_tracks(Folder(str(folder)), f"{layout.TRACKS}/{name}.parquet", clips)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A film, and a video of its own."""
    write_video(tmp_path / "new" / MODEL, "film", scene(1, 40))
    write_video(tmp_path / "new" / MODEL, "video", scene(2, 40))
    return tmp_path / "new" / MODEL


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """Twice what the film shows from 3.5 s on; and another video that has the name of a new one."""
    write_video(tmp_path / "old" / MODEL, "aired", scene(1, 40)[7:])
    write_video(tmp_path / "old" / MODEL, "again", scene(1, 40)[7:])
    write_video(tmp_path / "old" / MODEL, "video", scene(3, 40))
    return tmp_path / "old"


def align(new: Path, out: Path, reference: Path | list[Path], context: RunContext, **parameters: Any) -> dict[str, int]:
    paths = [str(one) for one in reference] if isinstance(reference, list) else str(reference)
    return AlignStage(
        input_path=str(new), output_path=str(out), reference_path=paths, **parameters
    ).run(context=context).counts  # fmt: skip


SHARED = [
    (f"film-{i}", f"{name}-{j}", True, offset)
    for i, name, j, offset in [
        (0, "again", 0, 3.5), (0, "aired", 0, 3.5), (1, "again", 0, -6.5), (1, "again", 1, 3.5), (1, "aired", 0, -6.5),
        (1, "aired", 1, 3.5),
    ]
]  # fmt: skip


def shared(out: Path) -> list[tuple[Any, ...]]:
    rows = pq.read_table(out / "overlaps.parquet").to_pylist()
    return [(row["id"], row["other_id"], row["other_reference"], row["offset_s"]) for row in rows]


@pytest.mark.parametrize("exhaustive_groups", [12, 0], ids=["pairs", "cells"])
def test_new_clips_are_compared_with_the_reference_which_stays(
    new: Path, reference: Path, tmp_path: Path, context: RunContext, exhaustive_groups: int
) -> None:
    before = tree(reference)
    counts = align(new, tmp_path / "out", reference, context, exhaustive_groups=exhaustive_groups)

    assert counts == {"clips": 4, "overlaps": 6, "reference_clips": 6}
    assert sorted(shared(tmp_path / "out")) == sorted(SHARED)
    assert tree(reference) == before
    clips = pq.read_table(tmp_path / "out" / "clips.parquet").to_pylist()
    assert [(row["id"], row["reference"]) for row in clips if row["source"] == "video.mp4"] == [
        ("video-0", False), ("video-1", False), ("video-0", True), ("video-1", True)
    ]  # fmt: skip


def test_a_clip_that_is_in_both_is_found_under_its_one_id(new: Path, tmp_path: Path, context: RunContext) -> None:
    write_video(tmp_path / "old" / MODEL, "film", scene(1, 40))
    align(new, tmp_path / "out", tmp_path / "old" / MODEL, context)
    assert shared(tmp_path / "out") == [("film-0", "film-0", True, 0.0), ("film-1", "film-1", True, 0.0)]


@pytest.mark.parametrize("exhaustive_groups", [12, 0], ids=["pairs", "cells"])
def test_several_references_whose_clips_have_the_same_ids(
    new: Path, tmp_path: Path, context: RunContext, exhaustive_groups: int
) -> None:
    """The first reference has another video of that name; of the third the new video is a copy."""
    references = [tmp_path / name for name in ("one", "two", "three")]
    for folder, seed in zip(references, (4, 2, 1), strict=True):
        write_video(folder / MODEL, "video", scene(seed, 40))
    given = [*references, references[0]]
    counts = align(new, tmp_path / "out", given, context, exhaustive_groups=exhaustive_groups)

    assert counts == {"clips": 4, "overlaps": 4, "reference_clips": 6}
    found = pq.read_table(tmp_path / "out" / "overlaps.parquet").to_pylist()
    assert sorted((row["id"], row["other_id"], row["other_reference_number"]) for row in found) == [
        ("film-0", "video-0", 3), ("film-1", "video-1", 3), ("video-0", "video-0", 2), ("video-1", "video-1", 2),
    ]  # fmt: skip
    clips = pq.read_table(tmp_path / "out" / "clips.parquet")
    assert clips["reference_number"].value_counts().to_pylist() == [
        {"values": 0, "counts": 4}, {"values": 1, "counts": 2}, {"values": 2, "counts": 2}, {"values": 3, "counts": 2},
    ]  # fmt: skip


def test_the_same_bytes_for_other_groups(
    new: Path, reference: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    align(new, tmp_path / "one", reference, context)
    monkeypatch.setattr(groups, "GROUP_WINDOWS", 1)
    align(new, tmp_path / "many", reference, context)
    names = ("overlaps.parquet", "clips.parquet")
    assert [(tmp_path / "one" / name).read_bytes() for name in names] == [
        (tmp_path / "many" / name).read_bytes() for name in names
    ]


def test_tracks_of_another_version_are_refused(new: Path, reference: Path, tmp_path: Path, context: RunContext) -> None:
    for folder, version in ((new, 2), (reference / MODEL, 1)):
        (folder / layout.FINGERPRINT).write_text(json.dumps({"track_version": version}))
    with pytest.raises(InputError, match="tracks of version 2 in .* cannot be compared with those of version 1"):
        align(new, tmp_path / "out", reference, context)


def test_a_reference_without_clear_tracks_is_refused(new: Path, tmp_path: Path, context: RunContext) -> None:
    with pytest.raises(InputError, match="holds no tracks"):
        align(new, tmp_path / "out", tmp_path / "nowhere", context)
    for model in ("a_embd_parquet", "b_embd_parquet"):
        write_video(tmp_path / "old" / model, "video", scene(3, 40))
    with pytest.raises(InputError, match="holds tracks in a_embd_parquet, b_embd_parquet: give one of these"):
        align(new, tmp_path / "out", tmp_path / "old", context)
