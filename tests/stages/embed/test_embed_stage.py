"""Where the frames of an embedding come from: the clips, their sources, or the process that cuts them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, FolderInUseError, InputError, ParameterError, SplitStage
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.models import register_callable, register_model, registry
from curator_dask.stages.embed import clip_frames
from curator_dask.stages.embed import spec as embed_spec
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.embed.worker import embed_units
from curator_dask.stages.split.spec import SplitTask
from curator_dask.stages.split.worker import split_video
from curator_dask.video.frames.sampling import FrameRule
from tests.trees import tree_without_index


def split_and_embed(videos, out, context, *, frames_from="auto", tapped=True, **split):
    """The split stage and then the embed stage; returns the result of the embed stage."""
    embed = EmbedStage(str(out), video_dir=str(videos), frames_from=frames_from)
    SplitStage(str(videos), str(out), vectors=embed if tapped else None, **split).run(context=context)
    return embed.run(context=context)


@pytest.fixture(scope="module")
def tapped(tmp_path_factory, few_videos, cluster):
    from curator_dask.stages.base import RunContext

    out = tmp_path_factory.mktemp("tapped") / "out"
    return out, split_and_embed(few_videos, out, RunContext(cluster))


def vectors_of(out):
    rows = pq.read_table(out / "pdqf_tmk_nobars_embd_parquet", columns=["id", "embedding"]).to_pylist()
    return {row["id"]: np.array(row["embedding"]) for row in rows}


def test_vectors_come_with_the_cut_and_the_embed_stage_finds_its_work_done(tapped):
    out, result = tapped
    assert (result.num_run, result.num_skipped) == (0, 4)
    assert result.counts == {"clips_in": 4, "embeddings": 4, "clips_plain": 0, "clips_failed": 0}
    assert len(vectors_of(out)) == 4


def test_what_a_killed_worker_of_the_cut_left_among_the_vectors_is_removed(tapped, few_videos, context):
    out, _ = tapped
    [vectors] = out.glob("*_embd_parquet")
    left = [vectors / f"{TEMPORARY_PREFIX}1", vectors / "_tracks" / f"{TEMPORARY_PREFIX}2"]
    for path in left:
        path.write_bytes(b"half")
    assert split_and_embed(few_videos, out, context).num_run == 0
    assert [path for path in left if path.exists()] == []


def test_a_decode_of_the_source_gives_the_same_bytes_as_the_cut(tapped, few_videos, context):
    out, _ = tapped
    shutil.move(out, out.with_name("first"))
    try:
        result = split_and_embed(few_videos, out, context, tapped=False)
        assert (result.num_run, result.num_skipped) == (4, 0)
        assert tree_without_index(out) == tree_without_index(out.with_name("first"))
    finally:
        shutil.rmtree(out)
        shutil.move(out.with_name("first"), out)


def test_vectors_of_clips_are_close_and_another_folder(tapped, few_videos, context, tmp_path):
    out, _ = tapped
    result = split_and_embed(few_videos, tmp_path, context, frames_from="clips")
    assert result.num_run == 4
    from_clips, from_source = list(vectors_of(tmp_path).values()), list(vectors_of(out).values())
    for vector in from_clips:
        assert max(vector @ other for other in from_source) > 0.95


def test_what_made_the_vectors_goes_on_by_default(tapped, context):
    out, _ = tapped
    assert EmbedStage(str(out)).resolved().frames_from == "source"
    assert EmbedStage(str(out)).run(context=context).num_run == 0
    with pytest.raises(InputError, match="video_dir"):
        EmbedStage(str(out), embedding_algorithm="pdqf_tmk_level1", frames_from="source").run(context=context)
    with pytest.raises(FolderInUseError, match='frames_from was "source" and is now "clips"'):
        EmbedStage(str(out), frames_from="clips").run(context=context)


def test_key_frame_cuts_are_embedded_from_their_files(few_videos, context, tmp_path):
    result = split_and_embed(few_videos, tmp_path, context, transcode_encoder="copy")
    assert EmbedStage(str(tmp_path)).resolved().frames_from == "clips"
    assert result.num_skipped == 0
    assert result.counts["embeddings"] == result.counts["clips_in"] > 0


@pytest.mark.parametrize(("name", "value"), [("frames_from", "the air"), ("decode_threads", 0)])
def test_values_that_cannot_be_meant(name, value):
    with pytest.raises(ParameterError, match=name):
        EmbedStage("x", **{name: value})


def test_parameters_by_position():
    stage = EmbedStage("clips", "vectors", "pdqf_tmk", "weights", "videos")
    given = (stage.input_path, stage.output_path, stage.embedding_algorithm, stage.model_dir, stage.video_dir)
    assert given == ("clips", "vectors", "pdqf_tmk", "weights", "videos")


def test_a_function_of_ones_own_reaches_the_workers(tapped, context, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    embed_spec.cached_model.cache_clear()
    rule = FrameRule.spread(2, width=8, height=8)
    register_callable("mean_colour", lambda frames: frames.mean(axis=(0, 1, 2)), frame_rule=rule)
    result = EmbedStage(str(tapped[0]), str(tmp_path), "mean_colour").run(context=context)
    embed_spec.cached_model.cache_clear()
    assert result.counts == {"clips_in": 4, "embeddings": 4, "clips_plain": 0, "clips_failed": 0}
    rows = pq.read_table(tmp_path / "mean_colour_embd_parquet", columns=["embedding"]).to_pylist()
    assert [len(row["embedding"]) for row in rows] == [3] * 4


@pytest.mark.shared
def test_a_model_folder_by_a_relative_path_is_found_by_workers_elsewhere(
    shared_dir, tapped, context, tmp_path, monkeypatch
):
    pytest.importorskip("transformers")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(shared_dir / "golden" / "hf" / "dinov2", tmp_path / "mine")
    result = EmbedStage(str(tapped[0]), str(tmp_path / "out"), "hf:../mine").run(context=context)
    assert result.counts == {"clips_in": 4, "embeddings": 4, "clips_plain": 0, "clips_failed": 0}


@pytest.mark.parametrize(
    ("device", "cores", "gpus", "threads"),
    [("cpu", 64, 0, 1), ("cuda", 16, 1, 8), ("cuda", 16, 4, 4), ("cuda:1", 2, 8, 1), ("cuda", 4, 0, 4)],
)
def test_threads_that_read_ahead(monkeypatch, device, cores, gpus, threads):
    monkeypatch.setattr("dask.system.CPU_COUNT", cores)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert clip_frames.threads_ahead(device) == threads


class Noting:
    """A model whose vectors hold the number of clips in the same call."""

    name, dimension, default_eps, light = "noting", 2, 0.1, False
    frame_rule = FrameRule.spread(2, width=16, height=16)

    def fingerprint(self):
        return {"model": self.name}

    def embed(self, clips):
        return [np.float32([len(clips), 0]) for _ in clips]


def test_batches_are_filled_across_videos(tapped, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model("noting", lambda options: Noting())
    embed_spec.cached_model.cache_clear()
    stage = EmbedStage(str(tapped[0]), str(tmp_path), "noting", frames_from="clips", decode_threads=2)
    units = plan_units(stage.spec())
    assert [len(unit.task.clips) for unit in units] == [1] * 4
    assert all(unit.share < 0.25 for unit in units)
    records = list(embed_units([unit.task for unit in units]))
    embed_spec.cached_model.cache_clear()
    assert [record.counts for record in records] == [{"embeddings": 1, "clips_plain": 0, "clips_failed": 0}] * 4
    for unit in units:
        (row,) = pq.read_table(tmp_path / "noting_embd_parquet" / f"{unit.key}.parquet").to_pylist()
        assert row == {"id": unit.task.clips[0].id, "embedding": [4.0, 0.0]}


class Failing:
    """A light model that always fails."""

    name, dimension, default_eps, light = "failing", 3, 0.1, True
    frame_rule = FrameRule.spread(2, width=16, height=16)

    def fingerprint(self):
        return {"model": self.name}

    def embed(self, clips):
        raise RuntimeError("no luck today")


def test_globs_choose_among_ready_clips(tmp_path, few_videos, context):
    shutil.copytree(few_videos, tmp_path / "ready")
    stage = EmbedStage(str(tmp_path / "ready"), include="scene_*", exclude=["scene_1*"])
    planned = stage.run(context=replace(context, dry_run=True))
    assert (planned.counts["clips_in"], planned.left_out["excluded"]) == (2, {".mkv": 1, ".mp4": 1})
    assert stage.identity() == EmbedStage(stage.input_path).identity()


def test_a_model_that_fails_beside_the_cut_does_not_cost_the_clips(few_videos, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model("failing", lambda options: Failing())
    embed_spec.cached_model.cache_clear()
    embed = EmbedStage(str(tmp_path), embedding_algorithm="failing", video_dir=str(few_videos), frames_from="source")
    stage = SplitStage(str(few_videos), str(tmp_path), vectors=embed)
    listing = stage.list_videos()
    video = listing.videos[0]
    task = SplitTask(stage.spec(embed.spec_beside_cut()), listing.folder, video, stage.splitter().of(video))
    record = split_video(task)
    embed_spec.cached_model.cache_clear()
    assert record.counts["clips"] == record.counts["clips_planned"] > 0
    assert not (tmp_path / "failing_embd_parquet").exists()
