"""New clips beside a finished run that decided by overlaps: its kept clips of all clusters count, and it stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import AlignStage, IncrementalStage, InputError, ParameterError
from curator_dask.data.beside_vectors.track_files import TrackRow, write_tracks
from curator_dask.files import layout
from curator_dask.files.buckets import shared
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.source_groups import staying, tables_of_align
from tests.dedup.align.lines import scene, track
from tests.dedup.reference import random_unit
from tests.stages import builders
from tests.trees import results, tree

MODEL = "pdqf_tmk_nobars_embd_parquet"


def write_video(root: Path, name: str, rows: np.ndarray[Any, Any], seed: int) -> None:
    """A video in clips of ten seconds: its tracks, and vectors at random, which know nothing of what overlaps."""
    starts = range(0, len(rows), 20)
    clips = [TrackRow(f"{name}-{at // 20}", f"{name}.mp4", track(rows[at : at + 20], start_s=at / 2)) for at in starts]
    write_tracks(Folder(str(root / MODEL)), f"{layout.TRACKS}/{name}.parquet", clips)
    builders.write_vectors(
        root / MODEL / f"{name}.parquet", [clip.id for clip in clips], random_unit(len(clips), 4, seed)
    )


def finish(root: Path, context: RunContext, **identify: Any) -> None:
    """Run all stages on the vectors and tracks below ``root``."""
    builders.score_vectors(root / MODEL, root, context, 2)
    against = {"reference_path": identify["against_path"]} if "against_path" in identify else {}
    AlignStage(input_path=str(root / MODEL), output_path=str(root / "overlaps"), **against).run(context=context)
    builders.identify_duplicates(root, context, rule="overlap", overlaps_path=str(root / "overlaps"), **identify)


@pytest.fixture
def old(tmp_path: Path, context: RunContext) -> Path:
    """A finished run over a film, a copy of it that begins later, and a video."""
    root = tmp_path / "old"
    write_video(root, "film", scene(1, 80), 1)
    write_video(root, "again", scene(1, 80)[8:68], 2)
    write_video(root, "video", scene(2, 40), 3)
    finish(root, context)
    return root


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Another copy of the film, and a scene twice."""
    root = tmp_path / "new"
    write_video(root, "late", scene(1, 80)[7:67], 4)
    write_video(root, "fresh", scene(3, 40), 5)
    write_video(root, "twin", scene(3, 40), 6)
    return root


def stage(old: Path, new: Path, out: Path, **parameters: Any) -> IncrementalStage:
    return IncrementalStage(str(new / MODEL), str(old / "k"), str(old / "d"), str(out), **parameters)


def kept(folder: Path) -> set[str]:
    return set((folder / "keep.txt").read_text().split())


def removed(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(folder / "duplicates.parquet").to_pylist()}


def test_new_clips_are_held_against_the_kept_clips_of_all_clusters(old, new, tmp_path, context):
    before = tree(old)
    assert kept(old / "d") == {*(f"film-{i}" for i in range(4)), "video-0", "video-1"}
    one = stage(old, new, tmp_path / "out")
    result = one.run(context=context)

    assert tree(old) == before
    gone = removed(tmp_path / "out" / "duplicates")
    assert {name for name in gone if "late" in name} == {"late-0", "late-1", "late-2"}
    assert {name.split("-")[0] for name in gone if "late" not in name} in ({"fresh"}, {"twin"})
    first = gone["late-0"]
    assert (first["kept_ids"], first["kind"], first["offset_s"]) == (["film-0", "film-1"], "shifted", -3.5)
    assert (first["cover"], first["eps"], first["reason"]) == (1.0, None, "near-duplicate")
    clusters = {id: one["cluster"] for id, one in gone.items()}
    assert len(set(clusters.values())) == 2
    assert {name: result.counts[name] for name in ("rows", "kept", "removed", "orphans")} == {
        "rows": 7, "kept": 2, "removed": 5, "orphans": 0
    }  # fmt: skip
    assert one.criterion() == "cover 0.8"
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert stage(old, new, tmp_path / "out").run(context=context).counts == result.counts
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == again


@pytest.mark.parametrize("given", [{}, {"rule": "greedy", "eps": 0.5}], ids=["by overlaps", "by scores"])
def test_parts_and_files_of_any_size_give_the_same(old, new, tmp_path, context, monkeypatch, given):
    stage(old, new, tmp_path / "one", **given).run(context=context)
    monkeypatch.setattr(decision_parts, "PART_ROWS", 1)
    monkeypatch.setattr(staying, "TASK_BYTES", 1)
    for module in (shared, tables_of_align):
        monkeypatch.setattr(module, "ROWS_OF_SHARED_BUCKET", 2)
    stage(old, new, tmp_path / "many", **given).run(context=context)
    found = [results(tmp_path / name / "duplicates") for name in ("one", "many")]
    lists = [{name: value for name, value in one.items() if not name.startswith("decisions/")} for one in found]
    assert lists[0] == lists[1]
    assert len(found[0]) < len(found[1])
    assert not list(tmp_path.glob("many/.curator/incremental/buckets/*"))


def test_a_removed_clip_that_no_finished_run_has_is_an_error(old, new, tmp_path, context):
    path = old / "d" / "decisions" / "part-000000.parquet"
    part = pq.read_table(path)
    ids = [
        f"nobody-{name}" if gone else name for name, gone in zip(*part.select([0, 1]).to_pydict().values(), strict=True)
    ]
    pq.write_table(part.set_column(0, "id", [ids]).replace_schema_metadata(part.schema.metadata), path)
    with pytest.raises(InputError, match="nobody-.* was removed, but is not in the k-means output"):
        stage(old, new, tmp_path / "out").run(context=context)


def test_removed_clips_of_the_finished_run_do_not_count(tmp_path, context):
    """By the cover that was asked for, the copy went for the first 80 % of it; what it shows after that is nowhere else."""
    rows = scene(1, 40)
    write_video(tmp_path / "old", "film", rows[:16], 1)
    write_video(tmp_path / "old", "again", rows[:20], 2)
    finish(tmp_path / "old", context, min_cover=0.8)
    (gone,) = removed(tmp_path / "old" / "d")
    write_video(tmp_path / "new", "late", rows[4:20], 3)
    stage(tmp_path / "old", tmp_path / "new", tmp_path / "out").run(context=context)
    found = removed(tmp_path / "out" / "duplicates")
    assert all(row["kept_ids"] != [gone] for row in found.values())
    assert bool(found) == (gone == "film-0")


def test_a_folder_that_has_grown_and_an_addition_to_an_addition(old, new, tmp_path, context):
    stage(old, new, tmp_path / "apart").run(context=context)
    for path in sorted((new / MODEL).rglob("*.parquet")):
        shutil.copy(path, old / path.relative_to(new))
    grown = stage(old, old, tmp_path / "grown").run(context=context)
    assert grown.counts["rows_known"] == 9
    for name in ("duplicates.parquet", "keep.txt"):
        paths = [tmp_path / one / "duplicates" / name for one in ("apart", "grown")]
        assert paths[0].read_bytes() == paths[1].read_bytes()

    write_video(tmp_path / "third", "third", scene(3, 40), 7)
    second = IncrementalStage(
        str(tmp_path / "third" / MODEL),
        [str(old / "k"), str(tmp_path / "grown" / "kmeans")],
        [str(old / "d"), str(tmp_path / "grown" / "duplicates")],
        str(tmp_path / "second"),
    ).run(context=context)
    assert second.counts["removed"] == 2
    names = {row["kept_id"] for row in removed(tmp_path / "second" / "duplicates").values()}
    assert names <= kept(tmp_path / "grown" / "duplicates")


def test_what_the_finished_run_was_held_against_counts_again(tmp_path, new, context):
    evaluation, old = tmp_path / "evaluation", tmp_path / "old"
    write_video(evaluation, "exam", scene(3, 40), 8)
    builders.write_clip_index(evaluation, [{"id": "exam-0"}, {"id": "exam-1"}])
    write_video(old, "video", scene(2, 60), 9)
    finish(old, context, against_path=str(evaluation))
    result = stage(old, new, tmp_path / "out").run(context=context)
    gone = removed(tmp_path / "out" / "duplicates")
    assert {name: row["reason"] for name, row in gone.items()} == dict.fromkeys(
        ("fresh-0", "fresh-1", "twin-0", "twin-1"), "in-reference"
    )
    assert result.counts["in_reference"] == 4


def test_a_finished_run_that_was_moved(old, new, tmp_path, context):
    stage(old, new, tmp_path / "before").run(context=context)
    old.rename(tmp_path / "moved")
    stage(tmp_path / "moved", new, tmp_path / "after").run(context=context)
    assert kept(tmp_path / "before" / "duplicates") == kept(tmp_path / "after" / "duplicates")


def test_what_is_missing_is_missed_before_any_work(old, new, tmp_path, context):
    shutil.rmtree(new / MODEL / layout.TRACKS)
    with pytest.raises(InputError, match="holds no tracks: run the embed stage with --tracks"):
        stage(old, new, tmp_path / "out").run(context=context)
    shutil.rmtree(old / MODEL / layout.TRACKS)
    with pytest.raises(InputError, match="holds no tracks. A reference is"):
        stage(old, new, tmp_path / "out").run(context=context)
    with pytest.raises(InputError, match="knows no eps.*--eps 0.1 --rule pairwise"):
        stage(old, new, tmp_path / "out", eps=0.1).run(context=context)
    with pytest.raises(ParameterError, match="min_cover .* is for the rule overlap"):
        stage(old, new, tmp_path / "out", rule="greedy", min_cover=0.5)
    assert not (tmp_path / "out").exists()
    assert stage(old, new, tmp_path / "out", eps=0.01, rule="pairwise").run(context=context).counts["rows"] == 7
