"""Quality columns from the frames that pass anyway: in the clip index, beside the vectors, and in the exported JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, SplitStage, Workflow, verify_dataset
from curator_dask.data.beside_vectors.quality_table import read_quality
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.video.process.ffmpeg import ffmpeg_path

EMBEDDINGS = "pdqf_tmk_nobars_embd_parquet"
DRAWN = {
    "black": "color=black:size=160x120:rate=15:duration=4",
    "moving": "testsrc2=size=160x120:rate=15:duration=4",
    "still": "testsrc2=size=160x120:rate=15:duration=4,trim=end_frame=1,loop=loop=-1:size=1,trim=duration=4",
    "wide": "testsrc2=size=160x90:rate=15:duration=4,pad=160:120:0:15",
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("quality") / "videos"
    folder.mkdir()
    for name, source in DRAWN.items():
        command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", folder / f"{name}.mp4"]
        subprocess.run(command, check=True)
    return folder


def workflow(videos: Path, out: Path, **parameters) -> Workflow:
    split = SplitStage(str(videos), str(out), fixed_stride_split_duration=4.0)
    return Workflow(split, **parameters)


@pytest.fixture(scope="module")
def out(tmp_path_factory, videos, cluster) -> Path:
    out = tmp_path_factory.mktemp("out")
    workflow(videos, out).run(RunContext(cluster))
    return out


def index_of(out: Path) -> dict[str, dict]:
    return {row["id"]: row for row in pq.read_table(out / "clips.parquet").to_pylist()}


def quality_of(rows: dict[str, dict]) -> dict[str, list[float]]:
    return {clip: [row[name] for name in COLUMNS] for clip, row in rows.items()}


def test_the_clip_index_says_what_is_in_a_clip(out):
    rows = {row["relative_path"].removesuffix(".mp4"): row for row in index_of(out).values()}
    shares = {name: (row["black_share"], row["frozen_share"], row["bars_share"]) for name, row in rows.items()}
    assert shares["black"] == (1.0, 1.0, 0.0)
    assert shares["moving"] == (0.0, 0.0, 0.0)
    assert shares["still"][:2] == (0.0, 1.0)
    assert shares["wide"][:2] == (0.0, 0.0)
    assert shares["wide"][2] == pytest.approx(0.25, abs=0.04)
    assert rows["moving"]["motion_mean"] > 0.01 > 0.002 > rows["still"]["motion_mean"]


def test_numbers_are_those_of_another_decoder(out):
    clip, row = next((clip, row) for clip, row in index_of(out).items() if row["relative_path"] == "moving.mp4")
    with av.open(str(out / "clips" / f"{clip}.mp4")) as film:
        grey = [frame.reformat(64, 64, "gray").to_ndarray().astype(float) for frame in film.decode(video=0)]
    levels = np.stack(grey)  # PyAV leaves limited range, or widens it, by version: both are near enough
    moved = np.abs(np.diff(levels, axis=0)).mean() / 255
    assert row["luminance"] == pytest.approx(levels.mean() / 255, abs=0.06)
    assert row["motion_mean"] == pytest.approx(moved, rel=0.25)


def test_embedding_the_clips_gives_the_same_columns(out, tmp_path, cluster):
    """Ready clips are decoded for their vectors anyway; they are coded once more than the frames of the cut."""
    EmbedStage(str(out / "clips"), str(tmp_path)).run(context=RunContext(cluster))
    ready = {row["id"]: row for row in pq.read_table(tmp_path / EMBEDDINGS / "_quality.parquet").to_pylist()}
    cut = index_of(out)
    assert ready.keys() == cut.keys()
    for clip, row in ready.items():
        assert [row[name] for name in COLUMNS] == pytest.approx([cut[clip][name] for name in COLUMNS], abs=0.05)


def test_columns_beside_the_vectors_are_those_of_the_index(out):
    beside = {row["id"]: row for row in pq.read_table(out / EMBEDDINGS / "_quality.parquet").to_pylist()}
    assert quality_of(beside) == quality_of(index_of(out))


def samples_of(out: Path) -> dict[str, dict]:
    samples = {}
    for shard in (out / "dataset").rglob("*.tar"):
        with tarfile.open(shard) as tar:
            found = [json.load(tar.extractfile(one)) for one in tar if one.name.endswith(".json")]
            samples |= {one["id"]: one for one in found}
    return samples


def test_samples_have_the_columns(out):
    samples, rows = samples_of(out), index_of(out)
    assert quality_of(samples) == {clip: quality_of(rows)[clip] for clip in samples}
    assert verify_dataset(str(out / "dataset"), duplicates_path=str(out / "duplicates")).faults == ()


def test_a_split_without_a_model_leaves_them_empty(videos, out, tmp_path, cluster):
    """No frames pass then; the embed stage that follows measures them."""
    SplitStage(str(videos), str(tmp_path), fixed_stride_split_duration=4.0).run(context=RunContext(cluster))
    assert {value for row in quality_of(index_of(tmp_path)).values() for value in row} == {None}
    EmbedStage(str(tmp_path), video_dir=str(videos)).run(context=RunContext(cluster))
    found = {row["id"]: row for row in read_quality(Folder(str(tmp_path))).to_pylist()}
    assert quality_of(found) == quality_of(index_of(out))


def forget_quality(folder: Path, stage: str) -> None:
    """Make the records of a stage those of an earlier version, which knew no quality."""
    state = StageState(Folder(str(folder)), stage)
    for record in list(state.records()):
        data = {name: value for name, value in record.data.items() if name != "quality"}
        if "clips" in data:
            data["clips"] = [{name: row[name] for name in row if name not in COLUMNS} for row in data["clips"]]
        state.write(replace(record, data=data))


def test_an_output_of_an_earlier_version_goes_on_without_them(videos, out, tmp_path, cluster):
    """Nothing is cut or embedded again, and the exported JSON has the fields of that version."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    forget_quality(copy, "split")
    forget_quality(copy / EMBEDDINGS, "embed")
    result = workflow(videos, copy).run(RunContext(cluster))
    assert [result.stage(name).num_run for name in ("split", "embed", "pairwise")] == [0, 0, 0]
    assert not set(COLUMNS) & set(pq.read_table(copy / "clips.parquet").column_names)
    assert not (copy / EMBEDDINGS / "_quality.parquet").exists()
    assert not any(set(COLUMNS) & set(sample) for sample in samples_of(copy).values())
    assert verify_dataset(str(copy / "dataset"), duplicates_path=str(copy / "duplicates")).faults == ()
