"""Whole runs with a model that knows what a picture means."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedParameters, SplitStage, Workflow
from curator_dask.errors import ModelError
from curator_dask.models.effnet.model import find_weights
from curator_dask.stages.base import RunContext
from curator_dask.workflow import WorkflowResult
from tests.left_out import NO_WEIGHTS


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
