"""Whole runs with a model that knows what a picture means."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import (
    EmbedParameters,
    FolderInUseError,
    IdentifyParameters,
    ParameterError,
    SplitStage,
    Workflow,
    similar_clips,
)
from curator_dask.errors import ModelError
from curator_dask.models.effnet.model import find_weights
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.embed.worker import embed_unit
from curator_dask.stages.split.spec import SplitTask
from curator_dask.stages.split.worker import split_video
from curator_dask.video.cut import one_process
from curator_dask.video.frames import read
from curator_dask.workflow_result import WorkflowResult
from tests.left_out import NO_WEIGHTS
from tests.models.onnx.small_models import require_libraries, write_model


def run(videos: Path, out: Path, context: RunContext, **parameters) -> WorkflowResult:
    try:
        find_weights(None)
    except ModelError:
        pytest.skip(NO_WEIGHTS)
    return Workflow(SplitStage(str(videos), str(out)), EmbedParameters("effnet-lite0"), **parameters).run(context)


def test_without_a_rule_or_an_eps_similarity_decides_by_the_eps_of_the_model(tmp_path, few_videos, context):
    result = run(few_videos, tmp_path / "out", context)
    assert [one.stage for one in result.stages] == ["split", "embed", "kmeans", "pairwise", "identify", "export"]
    rows = pq.read_table(tmp_path / "out/duplicates/duplicates.parquet").to_pylist()
    assert {row["eps"] for row in rows} == {0.14}
    assert all(row["cosine_sim_score"] >= 0.86 for row in rows)
    assert result.totals.removed == len(rows) >= 2  # the planted twins, at least


def test_an_onnx_file_goes_through_a_whole_run_and_its_settings_count(tmp_path, few_videos, context):
    require_libraries()
    path = write_model(tmp_path / "small.onnx", yaml=None)
    settings = {"mean": [0.4, 0.4, 0.4], "std": 0.2, "eps": 0.001}
    parameters = EmbedParameters(f"onnx:{path}", model_settings=settings)
    split = SplitStage(str(few_videos), str(tmp_path / "out"))
    result = Workflow(split, parameters).run(context)
    assert result.totals.failed == 0
    assert result.totals.removed >= 2
    again = Workflow(split, parameters).run(context)
    assert [one.num_run for one in again.stages] == [0] * len(again.stages)
    with pytest.raises(FolderInUseError, match="model"):
        Workflow(split, replace(parameters, model_settings={**settings, "frames": 2})).run(context)
    texts = ["mean=0.4,0.4,0.4", "std=0.2"]
    found = similar_clips(
        str(tmp_path / "out"),
        str(next(few_videos.glob("*.mp4"))),
        embedding_algorithm=f"onnx:{path}",
        model_settings=texts,
    )
    assert found[0][1] > 0.99


@pytest.fixture
def both(tmp_path, few_videos):
    """A run by a small network and its eps, with copies removed first."""
    require_libraries()
    path = write_model(tmp_path / "small.onnx")
    split = SplitStage(str(few_videos), str(tmp_path / "out"))
    return Workflow(split, EmbedParameters(f"onnx:{path}"), identify=IdentifyParameters(also="copies", eps=1e-6))


def test_copies_and_near_neighbours_in_one_run(tmp_path, both, context):
    result = both.run(context)
    assert [one.stage for one in result.stages] == [
        "split", "embed", "kmeans", "pairwise", "align", "identify", "export",
    ]  # fmt: skip
    counts = result.stage("identify").counts
    assert (counts["removed_as_copies"], counts["removed_as_near"]) == (2, 0)  # the planted twins
    rows = pq.read_table(tmp_path / "out/duplicates/duplicates.parquet").to_pylist()
    assert {(row["reason"], row["eps"], row["kind"] is None) for row in rows} == {("copy", None, False)}
    wide = replace(both, identify=IdentifyParameters(also="copies", eps=0.9)).run(context)
    counts = wide.stage("identify").counts
    assert (counts["removed_as_copies"], counts["removed_as_near"], wide.totals.kept) == (2, 1, 1)
    again = replace(both, identify=IdentifyParameters(also="copies", eps=0.9)).run(context)
    assert [one.num_run for one in again.stages] == [0] * len(again.stages)


def test_frames_for_both_are_decoded_once(both, context, monkeypatch):
    """One process decodes each video, for the clips and their tracks; each clip is decoded once, for its vector."""
    decodes = Counter()
    both.run(context)
    stage = both.embed_stage().resolved()
    assert stage.needs_tracks_of_cut()
    split, listing = both.split, both.split.list_videos()

    def counting(name, function):
        def count(*arguments, **more):
            decodes[name] += 1
            return function(*arguments, **more)

        return count

    monkeypatch.setattr(one_process.sandbox, "stream", counting("processes", one_process.sandbox.stream))
    for name in ("read_clip_frames", "read_ready_clip_by_rules", "read_source_by_rules"):
        monkeypatch.setattr(read, name, counting(name, getattr(read, name)))
    video = listing.videos[0]
    split_video(SplitTask(split.spec(None, tracks=True), listing.folder, video, split.splitter().of(video)))
    probes = decodes.pop("processes")
    assert not decodes
    units = plan_units(stage.spec())
    for unit in units:
        embed_unit(unit.task)
    assert decodes == {"read_clip_frames": sum(len(unit.task.clips) for unit in units)}
    assert probes == 2  # the probe, which decodes one frame, and the cut


def test_copies_need_tracks(both):
    with pytest.raises(ParameterError, match="also 'copies' compares the tracks of clips, and tracks is False"):
        replace(both, embed=replace(both.embed, tracks=False)).dedup_stages()
