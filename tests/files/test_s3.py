"""The whole job from and to an object store, on a real S3 server of our own."""

from __future__ import annotations

from pathlib import Path

from curator_dask import Folder, SplitStage, Workflow, verify_dataset
from curator_dask.stages.base import RunContext


def test_videos_and_results_on_s3(s3, few_videos: Path, context: RunContext) -> None:
    prefix, options = s3.url, s3.storage_options
    videos, out = Folder(f"{prefix}/job/videos", options), Folder(f"{prefix}/job/out", options)
    for path in few_videos.glob("scene_0*"):
        videos.write_bytes(path.name, path.read_bytes())
    split = SplitStage(videos.url, out.url, input_storage_options=options, output_storage_options=options)
    first = Workflow(split).run(context)
    assert str(first.totals) == "2 clips = 1 kept + 1 removed + 0 failed"
    before = {entry.path: entry.version for entry in out.entries(hidden=True)}
    assert "dataset/train/000000.tar" in before
    assert not Path("s3:").exists()
    second = Workflow(split).run(context)
    assert [stage.num_run for stage in second.stages] == [0] * 7
    assert {entry.path: entry.version for entry in out.entries(hidden=True)} == before
    assert verify_dataset(f"{out.url}/dataset", storage_options=options).faults == ()
    assert len(first.stage("embed").dataframe) == 2
