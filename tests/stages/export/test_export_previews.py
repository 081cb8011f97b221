"""Previews in an export: what they show, that each is made once, and that every sample has one."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator_dask import (
    ExportParameters,
    ExportStage,
    InspectStage,
    ParameterError,
    PreviewsStage,
    SplitStage,
    Workflow,
)
from curator_dask.cli.options.export import ExportOptions
from curator_dask.files.buckets import buckets
from curator_dask.stages.base import RunContext
from curator_dask.stages.export.verify import verify_dataset
from curator_dask.stages.previews import stage as previews_stage
from tests.trees import results, times, tree


@pytest.fixture(scope="module")
def finished(few_videos, cluster, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("previews") / "out"
    result = run(few_videos, out, cluster)
    assert result.stage("export").counts["previews"] == result.totals.kept == 2
    return out


def run(videos, out, cluster):
    return Workflow(SplitStage(str(videos), str(out)), export=ExportParameters(previews=True)).run(RunContext(cluster))


def members_of(dataset: Path) -> dict[str, bytes]:
    with tarfile.open(dataset / "train" / "000000.tar") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def kept_ids(out: Path) -> list[str]:
    return (out / "duplicates" / "keep.txt").read_text().split()


def test_every_sample_has_the_preview_that_lies_beside_the_clips(finished):
    members = members_of(finished / "dataset")
    assert {name.partition(".")[2] for name in members} == {"json", "mp4", "webp"}
    for name in kept_ids(finished):
        assert members[f"{name}.webp"] == (finished / "previews" / f"{name}.webp").read_bytes()
    assert {path.stem for path in (finished / "previews").iterdir()} == set(kept_ids(finished))
    assert json.loads((finished / "dataset" / "manifest.json").read_bytes())["members"] == ["json", "mp4", "webp"]
    assert verify_dataset(str(finished / "dataset"), duplicates_path=str(finished / "duplicates")).faults == ()


def test_each_picture_is_of_its_sixth_of_the_clip(finished):
    for name in kept_ids(finished):
        with av.open(str(finished / "clips" / f"{name}.mp4")) as clip:
            frames = [
                frame.to_image().convert("L").resize((160, 90), Image.Resampling.BOX) for frame in clip.decode(video=0)
            ]
        levels = np.stack([np.asarray(frame, np.float32) for frame in frames])
        strip = Image.open(io.BytesIO(members_of(finished / "dataset")[f"{name}.webp"])).convert("L")
        for number, picture in enumerate(np.split(np.asarray(strip, np.float32), 6, axis=1)):
            nearest = int(np.abs(levels - picture).mean(axis=(1, 2)).argmin())
            assert number - 0.1 <= 6 * nearest / len(frames) <= number + 1.1


def test_a_second_run_makes_nothing_anew_and_the_report_makes_only_the_others(finished, few_videos, cluster):
    before = times(finished / "dataset") | times(finished / "previews")
    assert run(few_videos, finished, cluster).stage("export").num_run == 0
    assert times(finished / "dataset") | times(finished / "previews") == before
    assert PreviewsStage(str(finished)).run(context=RunContext(cluster, dry_run=True)).num_run == 2
    report = InspectStage(str(finished)).run(context=RunContext(cluster))
    assert (report.num_run, report.num_skipped, report.counts["previews"]) == (2, 2, 4)


def test_a_lost_preview_is_made_again_and_the_shards_stay(finished, cluster, few_videos):
    victim = finished / "previews" / f"{kept_ids(finished)[0]}.webp"
    content, shards = victim.read_bytes(), times(finished / "dataset")
    victim.unlink()
    run(few_videos, finished, cluster)
    assert victim.read_bytes() == content
    assert times(finished / "dataset") == shards


def test_a_dry_run_counts_previews_and_writes_nothing(finished, cluster, tmp_path):
    stage = ExportStage(str(finished), str(tmp_path / "new"), all_clips=True, previews=True)
    before = tree(finished)
    result = stage.run(context=RunContext(cluster, dry_run=True))
    assert (result.num_run, result.counts["clips"]) == (1, 4)
    assert tree(finished) == before
    assert not (tmp_path / "new").exists()


def test_a_clip_without_a_preview_is_left_out_and_told(finished, cluster, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("dataset", "report", "previews", ".curator"))
    victim = out / "clips" / f"{kept_ids(out)[0]}.mp4"
    victim.write_bytes(bytes(victim.stat().st_size))
    stage = ExportStage(str(out), str(tmp_path / "data"), duplicates_path=str(out / "duplicates"), previews=True)
    result = stage.run(context=RunContext(cluster))
    assert [(failure.reason, failure.clip_id) for failure in result.failures] == [("no-preview", victim.stem)]
    assert (result.counts["clips"], result.counts["previews"], result.counts["clips_failed"]) == (1, 1, 1)
    assert {name.partition(".")[0] for name in members_of(tmp_path / "data")} == {kept_ids(out)[1]}


@pytest.mark.parametrize("media", ["copy", "reference"])
def test_a_table_names_the_previews(finished, cluster, tmp_path, media):
    data = tmp_path / "data"
    parameters = {"format": "parquet", "media": media, "duplicates_path": str(finished / "duplicates")}
    ExportStage(str(finished), str(data), previews=True, **parameters).run(context=RunContext(cluster))
    rows = pq.read_table(data / "index.parquet").to_pylist()
    assert len(rows) == 2
    for row in rows:
        with Image.open(data / row["preview"]) as picture:
            assert picture.size == (960, 90)
        assert (data / "previews").exists() == (media == "copy")


def test_previews_that_are_made_in_parts_give_the_bytes_of_one(finished, cluster, tmp_path, monkeypatch):
    own = {"all_clips": True, "previews": True}
    for size in ("one", "many"):
        out = tmp_path / size
        shutil.copytree(finished, out, ignore=shutil.ignore_patterns("dataset", "report", "previews", ".curator"))
        exports = [ExportStage(str(out), str(out / "data"), **own).run(context=RunContext(cluster)) for _ in range(2)]
        assert [result.num_run for result in exports] == [1, 0]
        assert exports[0].counts["previews"] == 4
        made = PreviewsStage(str(out)).run(context=RunContext(cluster))
        assert (made.num_run, made.num_skipped, made.counts["previews"]) == (0, 4, 4)
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 2)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
        monkeypatch.setattr(previews_stage, "MOST_AT_ONCE", 1)
    found = results(tmp_path / "one")
    assert found == results(tmp_path / "many")
    assert sum(name.startswith("previews/") for name in found) == 4
    summaries = [(tmp_path / size / ".curator" / "previews" / "summary.json").read_bytes() for size in ("one", "many")]
    assert summaries[0] == summaries[1]


def test_the_command_line_takes_previews_only():
    assert ExportOptions(with_members="previews").parameters().previews
    assert not ExportOptions().parameters().previews
    with pytest.raises(ParameterError, match=r"--with \('npy'\) must be previews"):
        ExportOptions(with_members="npy").parameters()
