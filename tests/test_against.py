"""A whole run against the output of another one: what that one kept is removed from the new clips, and it stays as it is."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedParameters, IdentifyParameters, InputError, ParameterError, SplitStage, Workflow, curate
from curator_dask.stages.base import RunContext
from curator_dask.video.samples import TRUTH
from tests.trees import tree


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, few_videos, cluster) -> Path:
    """The output of a run over the first scene and its twin, of which it kept one."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name in pair(few_videos):
        (folder / "videos").mkdir(exist_ok=True)
        shutil.copy(few_videos / name, folder / "videos" / name)
    Workflow(SplitStage(str(folder / "videos"), str(folder / "out"), relative_ids=True)).run(RunContext(cluster))
    return folder / "out"


def kept_ids(out: Path) -> list[str]:
    """The ids that a run keeps, as its list says."""
    return (out / "duplicates" / "keep.txt").read_text().split()


def pair(few_videos: Path) -> tuple[str, str]:
    """The first scene and its edited copy."""
    scene, twin = json.loads((few_videos / TRUTH).read_text())["twins"][0]
    return scene, twin


def new_videos(few_videos: Path, folder: Path) -> Path:
    """Another scene; and the edited copy of the evaluated scene, under a name and an id that the other set has too."""
    folder.mkdir()
    scene, twin = pair(few_videos)
    shutil.copy(few_videos / twin, folder / scene)
    shutil.copy(few_videos / "scene_1.mp4", folder / "scene_1.mp4")
    return folder


def test_what_the_other_output_kept_is_removed_and_that_output_stays(tmp_path, few_videos, evaluation):
    before, out = tree(evaluation), tmp_path / "out"
    videos = new_videos(few_videos, tmp_path / "videos")
    result = curate(str(videos), str(out), relative_ids=True, against=str(evaluation))

    assert tree(evaluation) == before
    (row,) = pq.read_table(out / "duplicates" / "duplicates.parquet").to_pylist()
    kept = set(kept_ids(evaluation))
    assert (Path(row["source"]).name, row["reason"], set(row["kept_ids"])) == (
        pair(few_videos)[0],
        "in-reference",
        kept,
    )
    assert row["id"] not in kept_ids(out)
    assert str(result.totals) == "2 clips = 1 kept + 1 removed + 0 failed"
    assert result.stage("identify").counts["in_reference"] == 1
    (written,) = (out / "dataset").rglob("*.tar")
    with tarfile.open(written) as shard:
        assert {Path(name).stem for name in shard.getnames()} == set(kept_ids(out))


@pytest.mark.parametrize(
    ("against", "parameters", "message"),
    [
        ("nowhere", {}, "holds no tracks"),
        ("out", {}, "is the output of this run itself"),
        ("other", {"identify": IdentifyParameters(eps=0.1)}, r"against_path \(.*\) is for the rule overlap only"),
        ("other", {"identify": IdentifyParameters(scope="same")}, "scope 'same' leaves out all pairs"),
        ("other", {"embed": EmbedParameters(tracks=False)}, "rule is 'pairwise'"),
    ],
    ids=["none there", "itself", "eps", "scope", "no tracks"],
)
def test_what_cannot_be_meant_is_refused_before_any_work(tmp_path, few_videos, context, against, parameters, message):
    with pytest.raises((InputError, ParameterError), match=message):
        split = SplitStage(str(few_videos), str(tmp_path / "out"))
        Workflow(split, against=str(tmp_path / against), **parameters).run(context)
    assert not (tmp_path / "out").exists()
