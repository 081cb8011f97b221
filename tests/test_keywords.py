"""A wrong keyword is answered with the right one, and objects are shown in a line."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import curator_dask as cd

RESULTS = {
    "Folder",
    "LazyCluster",
    "Leftovers",
    "OutputCheck",
    "RankingStrategy",
    "RunContext",
    "RunPlan",
    "SampleResult",
    "StageEstimate",
    "StageResult",
    "WorkflowResult",
}
"""Public dataclasses that people seldom make themselves."""
MADE = [name for name in cd.__all__ if dataclasses.is_dataclass(getattr(cd, name)) and name not in RESULTS]


@pytest.mark.parametrize("name", MADE)
def test_every_stage_and_set_of_parameters_answers(name):
    one = dataclasses.fields(getattr(cd, name))[-1].name
    with pytest.raises(cd.ParameterError, match=f"{name} has no parameter {one}x: did you mean {one}"):
        getattr(cd, name)(**{f"{one}x": 1})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cd.KMeansStage(n_cluster=5), "KMeansStage has no parameter n_cluster: did you mean n_clusters?"),
        (lambda: cd.curate("videos", "out", esp=0.1), "curate has no parameter esp: did you mean eps?"),
        (lambda: cd.split_videos("v", "out", limit_clip=1), "SplitStage has no parameter limit_clip: did you mean limit_clips?"),
        (lambda: cd.ClusterSettings(qqq=1), "ClusterSettings has no parameter qqq: there are: device, n_workers, "),
    ],
)  # fmt: skip
def test_what_is_said(call, message):
    with pytest.raises(TypeError) as told:
        call()
    assert str(told.value).startswith(message)
    assert isinstance(told.value, cd.CuratorError)


def test_signatures_stay():
    assert next(iter(inspect.signature(cd.KMeansStage).parameters)) == "n_clusters"
    assert inspect.signature(cd.curate).parameters["eps"].default is None


def test_a_repr_leaves_defaults_out():
    stage = cd.KMeansStage(5, input_path="vectors", output_path="out", read_kwargs={"storage_options": {"secret": "s"}})
    assert repr(stage) == "KMeansStage(n_clusters=5, input_path='vectors', output_path='out')"
    assert repr(cd.ClusterSettings()) == "ClusterSettings()"
