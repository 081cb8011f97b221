"""Whole runs with a model that knows what a picture means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedParameters, FolderInUseError, SplitStage, Workflow, similar_clips
from curator_dask.errors import ModelError
from curator_dask.models.effnet.model import find_weights
from curator_dask.stages.base import RunContext
from curator_dask.workflow import WorkflowResult
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
    assert {row["eps"] for row in rows} == {0.05}
    assert all(row["cosine_sim_score"] >= 0.95 for row in rows)
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
