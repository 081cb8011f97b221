"""Filters on quality columns: what is dropped is neither kept nor removed, never exported, and costs no twin its place."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import (
    IdentifyDuplicatesStage,
    InputError,
    InspectStage,
    ParameterError,
    SplitStage,
    Workflow,
    verify_dataset,
)
from curator_dask.cli.options.dedup import least_motion
from curator_dask.cli.output.decision_report import decision_report
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.parameters import IdentifyParameters
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns, dropped_ids
from curator_dask.stages.kmeans.parameters import KMeansParameters
from curator_dask.verify.verify_output import verify_output
from curator_dask.video.process.ffmpeg import ffmpeg_path
from tests.stages.identify.in_memory import kept_ids
from tests.trees import times

BLACK = "color=black:size=320x180:rate=24:duration=4"


@pytest.fixture(scope="module")
def videos(tmp_path_factory, few_videos) -> Path:
    """Two scenes with a twin each, and a black video, whose clips are plain."""
    folder = tmp_path_factory.mktemp("filters") / "videos"
    shutil.copytree(few_videos, folder)
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", BLACK, "-c:v", "libx264", folder / "black.mp4"]
    subprocess.run(command, check=True)
    return folder


def workflow(videos: Path, out: Path, *, cross_cluster: bool = False, **identify) -> Workflow:
    split = SplitStage(str(videos), str(out), fixed_stride_split_duration=4.0)
    kmeans = KMeansParameters(n_clusters=4 if cross_cluster else None)  # then twins are in different clusters
    return Workflow(split, kmeans=kmeans, identify=IdentifyParameters(**identify), cross_cluster=cross_cluster)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, videos, cluster) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    result = workflow(videos, out).run(RunContext(cluster))
    assert str(result.totals) == "5 clips = 2 kept + 2 removed + 1 plain + 0 failed"
    return out


@pytest.fixture
def out(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out", copy_function=shutil.copy2))


def listed(out: Path, name: str) -> set[str]:
    return set((out / "duplicates" / f"{name}.txt").read_text().split())


def rows_of(out: Path) -> dict[str, dict]:
    return {row["id"]: row for row in pq.read_table(out / "clips.parquet").to_pylist()}


def pairs_of(out: Path) -> list[tuple[str, str]]:
    return [(row["kept_id"], row["id"]) for row in pq.read_table(out / "duplicates" / "duplicates.parquet").to_pylist()]


def test_black_clips_are_dropped_and_counted(out, videos, context):
    result = workflow(videos, out, drop_black=True).run(context)
    assert str(result.totals) == "5 clips = 2 kept + 2 removed + 1 dropped + 0 failed"
    assert result.totals.counts() == json.loads((out / "run.json").read_text())["totals"]
    [row] = pq.read_table(out / "duplicates" / "dropped.parquet").to_pylist()
    assert (row["reason"], row["column"], row["value"], row["limit"], row["plain"]) == (
        "black", "black_share", 1.0, 0.9, True
    )  # fmt: skip
    assert Path(row["source"]).name == "black.mp4"
    assert listed(out, "drop") == {row["id"]}
    counts = result.stage("identify").counts
    assert {name: counts[name] for name in ("rows", "dropped", "plain_dropped", "dropped_black")} == {
        "rows": 4, "dropped": 0, "plain_dropped": 1, "dropped_black": 1
    }  # fmt: skip
    assert result.stage("export").counts["clips"] == 2
    assert verify_dataset(str(out / "dataset"), duplicates_path=str(out / "duplicates")).faults == ()
    assert verify_output(str(out)).findings == ()
    assert "1 clip dropped by the filters: 1 black, 1 of them plain" in decision_report("cover .8", counts)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"rule": "overlap", "scope": "cross"},
        {"eps": 0.5},
        {"eps": 0.5, "rule": "greedy"},
        {"eps": 0.5, "scope": "cross"},
        {"eps": 0.5, "rule": "greedy", "cross_cluster": True},
    ],
    ids=["overlap", "overlap-cross", "pairwise", "greedy", "pairwise-cross", "greedy-across-clusters"],
)
def test_a_removed_clip_takes_the_place_of_its_dropped_twin(out, videos, context, rule):
    workflow(videos, out, **rule).run(replace(context, overwrite=True))
    assert len(pairs_of(out)) == 2
    rows = rows_of(out)
    for kept, removed in pairs_of(out):
        low, high = sorted((kept, removed), key=lambda clip: rows[clip]["motion_mean"])
        limit = (rows[low]["motion_mean"] + rows[high]["motion_mean"]) / 2
        result = workflow(videos, out, min_motion=limit, **rule).run(context)
        assert low in listed(out, "drop")
        assert high in listed(out, "keep") | listed(out, "drop")
        lists = [listed(out, name) for name in ("keep", "remove", "drop")]
        assert sum(map(len, lists)) == len(set.union(*lists)) == 5
        assert result.totals.sum == 5
        for again, _ in pairs_of(out):
            assert again in listed(out, "keep")
        assert verify_output(str(out)).findings == ()


def test_a_group_that_is_dropped_as_a_whole_has_the_reason_of_the_filter(out, videos, context):
    rows = rows_of(out)
    scene, other = (sorted(rows[clip]["motion_mean"] for clip in pair) for pair in pairs_of(out))
    low, high = sorted((scene, other))
    assert low[1] < high[0], "the scenes of the samples move alike: choose others"
    limit = (low[1] + high[0]) / 2
    result = workflow(videos, out, min_motion=limit).run(context)
    assert str(result.totals) == "5 clips = 1 kept + 1 removed + 3 dropped + 0 failed"
    table = pq.read_table(out / "duplicates" / "dropped.parquet").to_pylist()
    assert {row["reason"] for row in table} == {"low-motion"}
    assert all(row["value"] < row["limit"] for row in table)


def test_other_filters_redo_decisions_only(out, videos, context):
    before = times(out)
    workflow(videos, out, drop_black=True).run(context)
    changed = {path for path, time in times(out).items() if before.get(path) != time}
    assert {path.split("/")[0] for path in map(str, changed)} <= {
        "duplicates",
        "dataset",
        "run.json",
        "failures.jsonl",
        ".curator",
    }
    again = times(out)
    workflow(videos, out, drop_black=True).run(context)
    assert times(out) == again
    result = workflow(videos, out).run(context)
    assert str(result.totals) == "5 clips = 2 kept + 2 removed + 1 plain + 0 failed"
    assert not (out / "duplicates" / "dropped.parquet").exists()
    assert not (out / "duplicates" / "drop.txt").exists()


def test_a_clip_that_a_person_keeps_is_not_dropped(out, videos, context):
    kept, _ = pairs_of(out)[0]
    result = workflow(videos, out, min_motion=0.99, overrides=str(keep_only(out, kept))).run(context)
    assert listed(out, "keep") == {kept}
    assert str(result.totals) == "5 clips = 1 kept + 0 removed + 4 dropped + 0 failed"


def test_filters_that_leave_nothing_say_so(out, videos, context):
    with pytest.raises(InputError, match="min_motion"):
        workflow(videos, out, min_motion=0.99).run(context)


def test_impossible_filters_are_refused():
    with pytest.raises(ParameterError, match="max_static_share"):
        IdentifyParameters(max_static_share=1.5)


def test_clips_without_numbers_pass_with_a_warning(out, context):
    stage = IdentifyDuplicatesStage(
        str(out / "pairwise"), str(out / "kmeans"), str(out / "again"), clips_path=str(out), min_motion=0.0001
    )
    (out / "pdqf_tmk_nobars_embd_parquet" / "_quality.parquet").unlink()
    index = out / "clip_index" / "part-000000.parquet"
    table = pq.read_table(index)
    place = table.column_names.index("motion_mean")
    pq.write_table(table.set_column(place, "motion_mean", [[None, *table["motion_mean"].to_pylist()[1:]]]), index)
    [warning] = stage.run(context=context).warnings
    assert warning.startswith("1 clip passed the filters unseen")
    names = [name for name in table.column_names if not name.endswith("_share") and "motion" not in name]
    pq.write_table(table.select(names), index)
    with pytest.raises(InputError, match="quality columns"):
        replace(stage, output_path=str(out / "third")).run(context=context)


def test_later_runs_do_not_count_dropped_clips_as_kept(out, videos, context):
    kept, removed = pairs_of(out)[0]
    clips = Folder(str(out))
    assert kept in kept_ids(StayingSet.of_output(0, 1, clips)).to_pylist()
    workflow(videos, out, min_motion=0.99, overrides=str(keep_only(out, removed))).run(context)
    assert kept_ids(StayingSet.of_output(0, 1, clips)).to_pylist() == [removed]
    runs = FinishedRuns((clips.below("kmeans"),), (clips.below("duplicates"),), "id")
    [(kmeans, files)] = runs.cluster_files()
    assert kept_ids(StayingSet.of_run(0, 0, kmeans, files, "id", runs.duplicates)).to_pylist() == [removed]
    assert dropped_ids(runs.duplicates, runs.versions()) == listed(out, "drop")


def keep_only(out: Path, clip: str) -> Path:
    """A file of decisions by hand that keeps one clip."""
    (out / "mine.csv").write_text(f"id,decision,note\n{clip},keep,\n")
    return out / "mine.csv"


def test_the_report_shows_dropped_clips_and_the_line_of_the_filter(out, videos, context):
    limit = sum(sorted(row["motion_mean"] for row in rows_of(out).values())[1:3]) / 2
    result = workflow(videos, out, drop_black=True, min_motion=limit).run(context)
    InspectStage(str(out), previews=False).run(context=context)
    report = json.loads((out / "report" / "report.json").read_text())
    line = report["totals"].pop("line")
    assert line == str(result.totals)
    assert report["totals"] == result.totals.counts()
    told = {entry["reason"]: (entry["number"], entry["limit"], entry["column"]) for entry in report["dropped"]}
    assert told == {"black": (1, 0.9, "black_share"), "low-motion": (1, limit, "motion_mean")}
    assert report["plain"] == []
    assert {name: bins["limit"] for name, bins in report["quality"].items()} == {
        "motion_mean": limit, "frozen_share": None, "black_share": 0.9, "luminance": None, "sharpness": None
    }  # fmt: skip
    assert all(sum(bins["counts"]) == 5 for bins in report["quality"].values())
    assert report["seconds"]["dropped"] > 0
    states = [clip["state"] for source in report["sources"] for clip in source["clips"]]
    assert states.count("dropped") == 2
    page = (out / "report" / "index.html").read_text()
    assert 'data-dropped="low-motion">1</b>' in page
    assert 'id="tile-dropped"' in page
    assert 'id="chart-quality-motion_mean"' in page
    assert "dropped" in result._repr_html_()


def test_the_switch_of_the_original_workflow_asks_for_a_little_motion():
    assert [least_motion(switch, None) for switch in ("disable", "score-only", "enable")] == [None, None, 0.003]
    assert least_motion("enable", 0.01) == 0.01
    with pytest.raises(ParameterError, match="motion_filter"):
        least_motion("on", None)
