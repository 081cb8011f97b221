"""Clips that are too plain for a vector: not broken, so not failed; they reach the dataset unless they are dropped."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, ExportStage, InputError, SplitStage, Workflow, split_videos, verify_dataset
from curator_dask.cli.output.terminal import show_failures
from curator_dask.models.base import Unusable
from curator_dask.models.unit_vector import unit_vector
from curator_dask.stages.base import RunContext
from curator_dask.video.process.ffmpeg import ffmpeg_path
from tests.trees import times

LISTED = "pdqf_tmk_nobars_embd_parquet/_plain.parquet"


def draw_plain(path: Path, seconds: int) -> None:
    """A video of one grey: nothing in it tells one clip from the other."""
    source = f"color=gray:size=160x120:rate=10:duration={seconds}"
    subprocess.run([ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", path], check=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, few_videos) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "videos"
    shutil.copytree(few_videos, folder)
    draw_plain(folder / "drawing.mp4", 12)
    return folder


def workflow(videos: Path, out: Path) -> Workflow:
    return Workflow(SplitStage(str(videos), str(out), fixed_stride_split_duration=2.0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, videos, cluster):
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, workflow(videos, out).run(RunContext(cluster))


def clips_of(out: Path, name: str) -> set[str]:
    rows = pq.read_table(out / "clips.parquet").to_pylist()
    return {row["id"] for row in rows if row["relative_path"] == name}


def ids_in_shards(dataset: Path) -> set[str]:
    ids: set[str] = set()
    for shard in dataset.rglob("*.tar"):
        with tarfile.open(shard) as tar:
            ids |= {name.split(".")[0] for name in tar.getnames()}
    return ids


def test_plain_clips_are_counted_apart_and_exported(finished):
    out, result = finished
    plain, kept = clips_of(out, "drawing.mp4"), set((out / "duplicates" / "keep.txt").read_text().split())
    assert len(plain) == 6
    assert str(result.totals) == "14 clips = 4 kept + 4 removed + 6 plain + 0 failed"
    assert json.loads((out / "run.json").read_text())["totals"] == {
        "clips": 14, "kept": 4, "removed": 4, "plain": 6, "failed": 0
    }  # fmt: skip
    assert (out / "failures.jsonl").read_text() == ""
    assert ids_in_shards(out / "dataset") == kept | plain
    assert verify_dataset(str(out / "dataset"), duplicates_path=str(out / "duplicates")).faults == ()


def test_plain_clips_are_listed_beside_the_vectors(finished):
    out, result = finished
    rows = pq.read_table(out / LISTED).to_pylist()
    assert {row["id"] for row in rows} == clips_of(out, "drawing.mp4")
    assert {(row["source"], row["reason"]) for row in rows} == {("drawing.mp4", "low-quality")}
    assert result.stage("embed").counts == {"clips_in": 14, "embeddings": 8, "clips_plain": 6, "clips_failed": 0}


def test_a_second_run_changes_no_byte(finished, videos, context):
    out, first = finished
    before = times(out)
    assert workflow(videos, out).run(context).totals == first.totals
    assert times(out) == before


def test_the_terminal_shows_one_line_per_video_and_reason(finished, capsys):
    show_failures(finished[1].stages, "failures.jsonl")
    title, line = capsys.readouterr().err.splitlines()
    assert title.startswith("6 clips are too plain to be compared, listed in ")
    assert title.endswith(LISTED)
    assert line.startswith("  drawing.mp4: 6 times: ")


@pytest.mark.parametrize("form", [{"format": "webdataset"}, {"format": "parquet"}], ids=["shards", "index"])
@pytest.mark.parametrize("plain", ["keep", "drop"])
def test_export_keeps_or_drops_them(finished, tmp_path, context, form, plain):
    out, _ = finished
    stage = ExportStage(str(out), str(tmp_path / "d"), str(out / "duplicates"), plain=plain, **form)
    counts = stage.run(context=context).counts
    kept = {"keep": 6, "drop": 0}[plain]
    assert (counts["clips"], counts["clips_plain"], counts["clips_failed"]) == (4 + kept, kept, 0)
    index = tmp_path / "d" / "index.parquet"
    ids = set(pq.read_table(index)["id"].to_pylist()) if index.exists() else ids_in_shards(tmp_path / "d")
    assert len(ids & clips_of(out, "drawing.mp4")) == kept


def test_a_dry_run_of_export_counts_as_the_run_and_is_refused_as_the_run(finished, tmp_path, context):
    out, _ = finished
    dry = RunContext(context.cluster, dry_run=True)
    stage = ExportStage(str(out), str(tmp_path / "d"), str(out / "duplicates"))
    planned = stage.run(context=dry)
    assert not (tmp_path / "d").exists()
    assert (planned.counts, planned.num_run, planned.num_skipped) == (
        {"clips": 10, "clips_plain": 6, "clips_failed": 0, "plain_failed": 0}, 1, 0
    )  # fmt: skip
    for same in (dry, context):
        with pytest.raises(InputError, match=r"holds no keep\.txt"):
            ExportStage(str(out), str(tmp_path / "d"), str(tmp_path / "empty")).run(context=same)


def test_other_words_on_plain_clips_need_no_overwrite(finished, tmp_path, context, caplog):
    out, _ = finished
    for plain, clips in (("keep", 10), ("drop", 4), ("keep", 10)):
        stage = ExportStage(str(out), str(tmp_path / "d"), str(out / "duplicates"), plain=plain)
        assert stage.run(context=context).counts["clips"] == clips
        assert len(ids_in_shards(tmp_path / "d")) == clips
    assert 'export: plain was not given and is now "drop": the dataset is made anew' in caplog.messages


def test_all_clips_without_the_plain_ones(finished, tmp_path, context):
    out, _ = finished
    stage = ExportStage(str(out), str(tmp_path / "d"), all_clips=True, plain="drop")
    assert stage.run(context=context).counts["clips"] == 8


def test_a_lost_plain_clip_is_failed_and_the_counts_add_up(finished, tmp_path, context):
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    lost = min(clips_of(out, "drawing.mp4"))
    stage = ExportStage(str(out), str(tmp_path / "d"), str(out / "duplicates"))
    (out / "clips" / f"{lost}.mp4").unlink()
    counts = stage.run(context=context).counts
    assert {name: counts[name] for name in ("clips", "clips_plain", "clips_failed", "plain_failed")} == {
        "clips": 9, "clips_plain": 5, "clips_failed": 1, "plain_failed": 1
    }  # fmt: skip


def test_markers_of_earlier_versions_list_them_among_the_failures(tmp_path, context):
    (tmp_path / "videos").mkdir()
    draw_plain(tmp_path / "videos" / "drawing.mp4", 3)
    split_videos(str(tmp_path / "videos"), str(tmp_path / "out"))
    stage = EmbedStage(str(tmp_path / "out"))
    first = stage.run(context=context)
    (marker,) = (tmp_path / "out" / LISTED).parent.glob(".curator/embed/units/*.json")
    record = json.loads(marker.read_text())
    del record["seal"], record["hashes"]
    (plain,) = record["data"].pop("plain")
    record["failures"] = [{"stage": "embed", "clip_id": plain.pop("id"), **plain}]
    marker.write_text(json.dumps(record))
    (tmp_path / "out" / LISTED).unlink()
    second = stage.run(context=context)
    assert (second.counts, second.plain, second.failures) == (first.counts, first.plain, ())
    assert (tmp_path / "out" / LISTED).exists()


def test_nothing_but_plain_clips_is_refused_with_advice(tmp_path, context):
    (tmp_path / "videos").mkdir()
    draw_plain(tmp_path / "videos" / "drawing.mp4", 3)
    with pytest.raises(InputError, match=r"no clip got a usable vector .*1 plain clip\).*--all-clips"):
        workflow(tmp_path / "videos", tmp_path / "out").run(context)


@pytest.mark.parametrize(("row", "broken"), [([0.0, 0.0], False), ([np.nan, 1.0], True)], ids=["zeros", "no numbers"])
def test_a_model_that_gives_no_numbers_is_broken_and_zeros_are_plain(row, broken):
    result = unit_vector(np.array(row))
    assert isinstance(result, Unusable)
    assert result.broken == broken
