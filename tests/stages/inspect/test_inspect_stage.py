"""The report of an output: its numbers are those of the files, counted here by another hand."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator_dask import (
    IdentifyDuplicatesStage,
    IdentifyParameters,
    InputError,
    InspectStage,
    KMeansStage,
    PairwiseStage,
    ParameterError,
    SplitStage,
    Workflow,
    inspect_run,
)
from curator_dask.files.buckets import buckets
from curator_dask.files.folder import Folder
from curator_dask.report.build import build_report
from curator_dask.stages.base import RunContext
from curator_dask.stages.inspect.read_output import read_output
from tests.trees import times, tree


@pytest.fixture(scope="module")
def by_moments(few_videos, cluster, tmp_path_factory) -> Path:
    return finished(few_videos, tmp_path_factory.mktemp("moments") / "out", cluster, IdentifyParameters())


@pytest.fixture(scope="module")
def by_eps(few_videos, cluster, tmp_path_factory) -> Path:
    return finished(few_videos, tmp_path_factory.mktemp("eps") / "out", cluster, IdentifyParameters(eps=0.65))


def finished(videos: Path, out: Path, cluster, identify: IdentifyParameters) -> Path:
    Workflow(SplitStage(str(videos), str(out)), identify=identify).run(RunContext(cluster))
    InspectStage(str(out)).run(context=RunContext(cluster))
    return out


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report" / "report.json").read_bytes())
    return report


def rows(out: Path, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out / path).to_pylist()
    return found


@pytest.mark.parametrize("which", ["by_moments", "by_eps"])
def test_the_counts_are_those_of_the_files(which, request):
    out = request.getfixturevalue(which)
    report = report_of(out)
    clips, removed = rows(out, "clips.parquet"), rows(out, "duplicates/duplicates.parquet")
    kept = (out / "duplicates" / "keep.txt").read_text().split()
    length = {clip["id"]: clip["end_s"] - clip["start_s"] for clip in clips}
    source = {clip["id"]: clip["relative_path"] for clip in clips}

    assert report["totals"]["clips"] == len(clips) == len(kept) + len(removed)
    assert (report["totals"]["kept"], report["totals"]["removed"]) == (len(kept), len(removed))
    assert report["totals"]["line"] == f"{len(clips)} clips = {len(kept)} kept + {len(removed)} removed + 0 failed"
    assert report["seconds"]["kept"] == pytest.approx(sum(length[name] for name in kept))
    assert report["bytes"]["removed"] == sum((out / "clips" / f"{row['id']}.mp4").stat().st_size for row in removed)
    same = sum(source[row["id"]] == source[row["kept_id"]] for row in removed)
    assert report["removed_by"]["pair"] == {"same_source": same, "cross_source": len(removed) - same}
    assert report["removed_by"]["reason"] == Counter(row["reason"] for row in removed)
    shown = {pair["id"]: pair for group in report["groups"] for pair in group["removed"]}
    assert {name: pair["kept_id"] for name, pair in shown.items()} == {row["id"]: row["kept_id"] for row in removed}
    members = rows(out, "duplicates/groups.parquet")
    of_group = {frozenset(row["id"] for row in members if row["group_id"] == number) for number in range(len(members))}
    shown_groups = {
        frozenset([*group["kept"], *(pair["id"] for pair in group["removed"])]) for group in report["groups"]
    }
    assert shown_groups == of_group - {frozenset()}
    assert all(pair["kept_id"] in group["kept"] for group in report["groups"] for pair in group["removed"])
    states = {clip["id"]: clip["state"] for video in report["sources"] for clip in video["clips"]}
    assert Counter(states.values()) == {"kept": len(kept), "removed": len(removed)}
    assert (report["rule"], report["eps"]) == (("overlap", None) if which == "by_moments" else ("pairwise", 0.65))


def test_pairs_have_their_offset_cover_and_kind(by_moments):
    removed = {row["id"]: row for row in rows(by_moments, "duplicates/duplicates.parquet")}
    for group in report_of(by_moments)["groups"]:
        for pair in group["removed"]:
            row = removed[pair["id"]]
            assert (pair["offset_s"], pair["kind"]) == (row["offset_s"], row["kind"])
            assert pair["cover"] == pytest.approx(row["cover"])


def test_the_sweep_counts_scores_and_what_stays(by_eps):
    report = report_of(by_eps)
    scores = {row["id"]: row["cosine_sim_score"] for row in rows(by_eps, "pairwise/cluster_0.parquet")}
    size = {clip["id"]: clip["num_bytes"] for clip in rows(by_eps, "clips.parquet")}
    assert any(line["eps"] == 0.65 for line in report["sweep"])
    for line in report["sweep"]:
        stay = [name for name, score in scores.items() if not score >= 1 - line["eps"]]
        assert (line["kept"], line["removed"]) == (len(stay), len(scores) - len(stay))
        assert line["kept_bytes"] == sum(size[name] for name in stay)
    assert sum(report["scores"]["counts"]) == len(scores)
    assert report["clusters"]["number"] == 1
    assert report["clusters"]["largest"] == [{"cluster": 0, "rows": len(scores), "share_of_pairs": 1.0}]


def test_close_calls_are_ordered_by_how_close_they_are(by_eps):
    close = report_of(by_eps)["borderline"]
    removed, kept = ([pair["score"] for pair in close[side]] for side in ("removed", "kept"))
    assert removed == sorted(removed)
    assert kept == sorted(kept, reverse=True)
    assert min(removed) >= 1 - 0.65 > max(kept)


@pytest.mark.parametrize("which", ["by_moments", "by_eps", "without an index"])
def test_many_buckets_give_the_numbers_of_one(which, request, tmp_path, monkeypatch):
    out = request.getfixturevalue("by_eps" if which == "without an index" else which)
    if which == "without an index":
        for name in ("duplicates", "pairwise"):
            shutil.copytree(out / name, tmp_path / "out" / name)
        out = tmp_path / "out"
    found = []
    for size in ("one", "many"):
        (tmp_path / size).mkdir()
        found.append(build_report(read_output(Folder(str(out)), tmp_path / size), most_groups=2))
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 3)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    assert not list((tmp_path / "one").iterdir())
    assert list((tmp_path / "many").iterdir())
    assert found[0] == found[1]
    assert found[0]["totals"]["removed"] > 0


def test_previews_show_six_pictures_of_each_clip(by_moments):
    report = report_of(by_moments)
    assert len(report["clips"]) == report["totals"]["clips"]
    for clip in report["clips"].values():
        with Image.open(by_moments / "report" / clip["preview"]) as picture:
            assert picture.size == (960, 90)
            levels = np.asarray(picture.convert("L")).reshape(90, 6, 160)
            assert (levels.std(axis=(0, 2)) > 2).all()  # none of them is empty
        assert (by_moments / "report" / clip["clip"]).is_file()


def test_a_second_time_makes_nothing_anew(by_moments, cluster):
    before, content = times(by_moments / "previews"), tree(by_moments / "report")
    result = InspectStage(str(by_moments)).run(context=RunContext(cluster))
    assert (result.num_run, result.counts["previews"]) == (0, 4)
    assert times(by_moments / "previews") == before
    assert tree(by_moments / "report") == content


def test_a_lost_preview_is_made_again(by_moments, cluster):
    victim = next((by_moments / "previews").iterdir())
    before = victim.read_bytes()
    victim.unlink()
    assert InspectStage(str(by_moments)).run(context=RunContext(cluster)).num_run == 1
    assert victim.read_bytes() == before


def test_a_clip_that_cannot_be_read_has_no_preview_and_is_told(by_eps, cluster):
    victim = next((by_eps / "clips").iterdir())
    content = victim.read_bytes()
    (by_eps / "previews" / f"{victim.stem}.webp").unlink()
    victim.write_bytes(b"no video")
    result = InspectStage(str(by_eps)).run(context=RunContext(cluster))
    assert [failure.reason for failure in result.failures] == ["no-preview"]
    assert report_of(by_eps)["clips"][victim.stem]["preview"] is None
    victim.write_bytes(content)


def test_vectors_of_ones_own_have_a_report_without_pictures(tmp_path, cluster):
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    vectors[20:] = vectors[:20] + 1e-4
    table = pa.table({"id": pa.array(range(40), pa.int64()), "embedding": list(vectors)})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    out = tmp_path / "out"
    context = RunContext(cluster)
    KMeansStage(input_path=str(tmp_path / "in"), output_path=str(out / "kmeans"), n_clusters=3).run(context=context)
    PairwiseStage(input_path=str(out / "kmeans"), output_path=str(out / "pairwise")).run(context=context)
    IdentifyDuplicatesStage(str(out / "pairwise"), str(out / "kmeans"), str(out / "duplicates"), eps=0.01).run(
        context=context
    )
    result = InspectStage(str(out)).run(context=context)
    report = report_of(out)
    assert report["totals"]["line"] == "40 clips = 20 kept + 20 removed + 0 failed"
    assert (report["eps"], report["sources"], report["overlaps"]) == (0.01, [], None)
    assert result.counts["previews"] == 0
    assert {pair["kept_id"] for group in report["groups"] for pair in group["removed"]} <= {str(n) for n in range(40)}


def test_clips_without_files_are_told(by_eps, cluster):
    (by_eps / "clips").rename(by_eps / "elsewhere")
    InspectStage(str(by_eps)).run(context=RunContext(cluster))
    report = report_of(by_eps)
    (by_eps / "elsewhere").rename(by_eps / "clips")
    assert {clip["clip"] for clip in report["clips"].values()} == {None}
    assert any("4 of 4 clips cannot be played or shown in pictures" in warning for warning in report["warnings"])


def test_limits_are_kept_and_told(by_moments, cluster):
    InspectStage(str(by_moments), max_groups=1).run(context=RunContext(cluster))
    report = report_of(by_moments)
    assert (len(report["groups"]), report["groups_left_out"]) == (1, 1)
    with pytest.raises(ParameterError, match="max_groups"):
        InspectStage(str(by_moments), max_groups=-1)


def test_a_folder_without_decisions_is_refused(tmp_path, cluster):
    with pytest.raises(InputError, match="holds no duplicates/"):
        InspectStage(str(tmp_path)).run(context=RunContext(cluster))


def test_a_dry_run_writes_nothing(by_eps, cluster):
    before = times(by_eps)
    stage = replace(InspectStage(str(by_eps)), max_groups=7)
    stage.run(context=RunContext(cluster, dry_run=True))
    assert times(by_eps) == before


def test_the_function_tells_where_the_page_is(by_eps):
    report = inspect_run(str(by_eps), previews=False)
    assert report.page_path == f"{by_eps}/report/index.html"
    assert (by_eps / "report" / "index.html").is_file()
    assert re.sub("<.*?>", "", report._repr_html_()).count(report.line) == 1
    assert report.numbers == report_of(by_eps)
    assert repr(report) == f"Report(page_path={report.page_path!r}, line={report.line!r})"


def test_results_of_a_run_show_its_report_where_there_is_one(by_eps, few_videos, cluster):
    workflow = Workflow(SplitStage(str(few_videos), str(by_eps)), identify=IdentifyParameters(eps=0.65))
    result = workflow.run(RunContext(cluster))
    shown = result._repr_html_()
    strips = [base64.b64decode(data) for data in re.findall(r'<img src="data:image/webp;base64,([^"]*)"', shown)]
    assert strips
    assert {Image.open(io.BytesIO(strip)).size for strip in strips} == {(960, 90)}
    assert "<svg" in shown
    assert repr(result) == f"<WorkflowResult: {result.totals} → {by_eps}>"
    assert repr(result.stage("identify")).startswith("<identify: ")
    of_others = replace(result, totals=replace(result.totals, kept=1 + result.totals.kept))
    assert "<img" not in of_others._repr_html_()
    assert str(of_others.totals) in of_others._repr_html_()
