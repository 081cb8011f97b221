"""The whole job: videos in, shards out, on rendered samples and on the project's real and hostile files."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import tarfile
from dataclasses import MISSING, fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import (
    AlignParameters,
    CuratorError,
    EmbedParameters,
    ExportParameters,
    FolderInUseError,
    IdentifyParameters,
    InputError,
    KMeansParameters,
    PairwiseParameters,
    SplitStage,
    Workflow,
    curate,
    verify_dataset,
)
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.stages.base import RunContext
from curator_dask.video.samples import TRUTH
from curator_dask.workflow_result import WorkflowResult
from tests.trees import times, tree


def run(videos: Path, out: Path, context: RunContext, *, split: dict | None = None, **parameters) -> WorkflowResult:
    return Workflow(SplitStage(str(videos), str(out), **(split or {})), **parameters).run(context)


def removed_pairs(out: Path) -> set[frozenset[tuple[str, float]]]:
    """The removed and kept clips of each row of the duplicates table, as (file name, start)."""
    clips = {
        row["id"]: (Path(row["source_video"]).name, row["start_s"])
        for row in pq.read_table(out / "clips.parquet").to_pylist()
    }
    rows = pq.read_table(out / "duplicates" / "duplicates.parquet").to_pylist()
    return {frozenset({clips[row["id"]], clips[row["kept_id"]]}) for row in rows}


def exported_ids(out: Path) -> set[str]:
    ids = set()
    for shard in (out / "dataset").rglob("*.tar"):
        with tarfile.open(shard) as tar:
            ids |= {name.split(".")[0] for name in tar.getnames()}
    return ids


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sample_videos, cluster) -> tuple[Path, WorkflowResult]:
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, run(sample_videos, out, RunContext(cluster))


@pytest.fixture(scope="module")
def finished_few(tmp_path_factory, few_videos, cluster) -> Path:
    """The output of a run over the few videos. Tests that change it take a copy."""
    out = tmp_path_factory.mktemp("finished_few") / "out"
    run(few_videos, out, RunContext(cluster))
    return out


@pytest.fixture
def copied(tmp_path, finished_few) -> Path:
    """A copy of that output, with the times of its files, in an empty folder."""
    return Path(shutil.copytree(finished_few, tmp_path / "out"))


def test_every_planted_twin_is_found_and_nothing_else(finished, sample_videos):
    out, result = finished
    twins = json.loads((sample_videos / TRUTH).read_text())["twins"]
    planted = {frozenset({(a, start), (b, start)}) for a, b in twins for start in (0.0, 10.0)}
    assert removed_pairs(out) == planted
    assert str(result.totals) == "26 clips = 16 kept + 10 removed + 0 failed"
    assert str(result.totals) in (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_only_kept_clips_are_exported(finished):
    out, _ = finished
    kept = set((out / "duplicates" / "keep.txt").read_text().split())
    removed = set((out / "duplicates" / "remove.txt").read_text().split())
    assert exported_ids(out) == kept
    assert not kept & removed
    assert verify_dataset(str(out / "dataset"), duplicates_path=str(out / "duplicates")).faults == ()


def test_counts_reconcile_in_the_run_record(finished):
    out, result = finished
    record = json.loads((out / "run.json").read_text())
    split, embed = record["stages"]["split"], record["stages"]["embed"]
    assert split["videos_found"] == split["videos_processed"] + split["videos_failed"] + split["videos_skipped"]
    assert split["clips_planned"] == split["clips"] + split["clips_failed"]
    assert embed["embeddings"] == embed["clips_in"] - embed["clips_plain"] - embed["clips_failed"]
    assert record["totals"] == {"clips": 26, "kept": 16, "removed": 10, "plain": 0, "failed": 0}
    assert result.stage("export").counts["clips"] == 16


def test_the_layout_of_the_original_workflow(finished):
    out, _ = finished
    clip = pq.read_table(out / "clips.parquet").to_pylist()[0]
    meta = json.loads((out / "metas" / "v0" / f"{clip['id']}.json").read_text())
    assert set(meta) == {
        "span_uuid", "source_video", "duration_span", "width_source", "height_source", "framerate_source",
        "clip_location", "width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "valid", "errors",
        "num_frames_held",
    }  # fmt: skip
    assert Path(meta["clip_location"]).stat().st_size == meta["num_bytes"] == clip["num_bytes"]
    assert meta["duration_span"] == [clip["start_s"], clip["end_s"]]
    assert (out / "processed_videos" / "scene_0.mp4.json").exists()
    assert (out / "processed_clip_chunks" / "scene_0.mp4_0.json").exists()
    vectors = pq.read_table(next((out / "pdqf_tmk_nobars_embd_parquet").glob("*.parquet")))
    assert str(vectors.schema.field("embedding").type) == "list<element: float>"
    assert json.loads((out / "pdqf_tmk_nobars_embd_parquet" / "_fingerprint.json").read_text())


def test_results_hold_a_lazy_dataframe(finished):
    _, result = finished
    frame = result.stage("embed").dataframe
    assert frame.npartitions == 13
    assert len(frame) == 26
    assert list(result.stage("identify").dataframe.columns)[:3] == ["id", "kept_id", "max_id"]
    assert "16" in result._repr_html_()


def test_a_second_run_does_no_work_and_changes_no_byte(finished, sample_videos):
    out, first = finished
    before = times(out)

    class NoCluster(LazyCluster):
        @property
        def client(self):
            raise AssertionError("a finished job must not start a cluster")

        @property
        def device(self):
            return "cpu"

    second = run(sample_videos, out, RunContext(NoCluster()))
    assert times(out) == before
    assert second.totals == first.totals
    assert [result.num_run for result in second.stages] == [0] * 7


def test_one_and_two_workers_give_the_same_bytes(tmp_path, few_videos, one_worker, context):
    trees = []
    for workers in (one_worker, context):
        out = tmp_path / "out"
        run(few_videos, out, workers, split={"fixed_stride_split_duration": 2.0})
        trees.append(tree(out))
        shutil.move(out, tmp_path / f"moved-{len(trees)}")
    assert len(trees[0]) > 30
    assert trees[0] == trees[1]


def test_a_dry_run_leaves_the_tree_as_it_was(tmp_path, few_videos, cluster):
    context = RunContext(cluster, dry_run=True)
    result = run(few_videos, tmp_path / "out", context)
    assert list(tmp_path.iterdir()) == []
    assert result.stages[0].counts["clips_planned"] == 4
    assert [(later.waits, later.counts) for later in result.stages[1:]] == [(True, {"clips_at_most": 4})] * 6
    done = run(few_videos, tmp_path / "out", RunContext(cluster))
    before = times(tmp_path)
    again = run(few_videos, tmp_path / "out", context)
    assert times(tmp_path) == before
    units = {result.stage: result.num_run + result.num_skipped for result in done.stages}
    assert {result.stage: result.num_skipped for result in again.stages} == units
    assert {result.num_run for result in again.stages} == {0}


def test_resume_after_a_lost_clip_redoes_only_its_video(tmp_path, few_videos, context):
    out = tmp_path / "out"
    run(few_videos, out, context)
    before = tree(out)
    victim = next((out / "clips").glob("*.mp4"))
    victim.unlink()
    again = run(few_videos, out, context)
    assert again.stage("split").num_run == 1
    assert tree(out) == before


def test_new_videos_are_added_to_a_finished_run(tmp_path, few_videos, context):
    videos = tmp_path / "videos"
    videos.mkdir()
    names = sorted(path.name for path in few_videos.glob("scene_0*"))
    for name in names[:1]:
        shutil.copy2(few_videos / name, videos / name)
    out = tmp_path / "out"
    assert run(videos, out, context).totals.clips == 1
    for name in names[1:]:
        shutil.copy2(few_videos / name, videos / name)
    result = run(videos, out, context)
    assert str(result.totals) == "2 clips = 1 kept + 1 removed + 0 failed"
    assert result.stage("split").num_run == 1
    assert verify_dataset(str(out / "dataset")).faults == ()


def test_a_video_that_is_gone_is_no_longer_part_of_the_result(tmp_path, few_videos, context):
    videos = tmp_path / "videos"
    shutil.copytree(few_videos, videos)
    out = tmp_path / "out"
    assert run(videos, out, context).totals.clips == 4
    limited = run(videos, out, context, split={"video_limit": 1})
    assert limited.totals.clips == 1
    next(videos.glob("scene_1*")).unlink()
    result = run(videos, out, context)
    assert result.totals.clips == 3
    assert len(exported_ids(out)) == result.totals.kept
    assert len(list((out / "clips").iterdir())) == 4  # nothing is deleted without being asked


def test_what_was_left_out_is_in_the_record_and_the_output_may_lie_inside(tmp_path, few_videos, context):
    videos = tmp_path / "videos"
    shutil.copytree(few_videos, videos)
    for name in ("notes.txt", ".hidden.mp4"):
        (videos / name).touch()
    (videos / "passwd.mp4").symlink_to("/etc/passwd")
    out = videos / "out"
    choice = {"exclude": ["scene_1*"]}
    result = run(videos, out, context, split=choice)
    assert result.totals.clips == 2
    record = json.loads((out / "run.json").read_text())
    no_videos = sum(1 for path in few_videos.iterdir() if path.suffix == ".json")
    assert record["left_out"] == {
        "split": {
            "excluded": {".mkv": 1, ".mp4": 1},
            "hidden": {".mp4": 1},
            "link-out": {".mp4": 1},
            "no-video": {".txt": 1} | ({".json": no_videos} if no_videos else {}),
            "output": {},
        }
    }
    counts = result.stage("split").counts
    assert (
        counts["files_found"] == 2 + counts["files_left_out"] == sum(1 for path in videos.iterdir() if path.is_file())
    )
    assert "<br>1 has a hidden name: .mp4 1" in result._repr_html_()
    before = times(videos)
    assert run(videos, out, context, split=choice).stage("split").num_run == 0
    assert times(videos) == before


def test_names_that_are_no_utf8(tmp_path, few_videos, context):
    videos = tmp_path / "videos"
    videos.mkdir()
    name = b"caf\xe9 \n%03d\\.mp4".decode("utf-8", "surrogateescape")
    shutil.copy2(few_videos / "scene_0.mp4", videos / name)
    shutil.copy2(few_videos / "scene_0.mp4", videos / name.replace("\udce9", "\udce8"))
    result = run(videos, tmp_path / "out", context, split={"upload_clips": False})
    assert str(result.totals) == "2 clips = 1 kept + 1 removed + 0 failed"
    assert str(run(videos, tmp_path / "out2", context).totals) == str(result.totals)


def test_a_moved_output_is_gone_on_with(copied, few_videos, cluster):
    before = times(copied)
    again = run(few_videos, copied, RunContext(cluster))
    assert [result.num_run for result in again.stages] == [0] * 7
    changed = {path for path, time in times(copied).items() if before.get(path) != time}
    assert changed == {"run.json", ".curator/run/files.json"}  # it names the folders; and its hash


def test_a_moved_output_and_its_moved_videos_are_gone_on_with(tmp_path, few_videos, cluster):
    shutil.copytree(few_videos, tmp_path / "a" / "videos")
    run(tmp_path / "a" / "videos", tmp_path / "a" / "out", RunContext(cluster))
    (tmp_path / "a").rename(tmp_path / "b")
    again = run(tmp_path / "b" / "videos", tmp_path / "b" / "out", RunContext(cluster))
    assert [result.num_run for result in again.stages] == [0] * 7


def test_another_eps_needs_no_overwrite_and_redoes_decisions_alone(tmp_path, few_videos, cluster, caplog):
    first = run(few_videos, tmp_path / "out", RunContext(cluster), identify=IdentifyParameters(eps=0.65))
    planned = run(
        few_videos, tmp_path / "out", RunContext(cluster, dry_run=True), identify=IdentifyParameters(eps=1e-9)
    )
    second = run(few_videos, tmp_path / "out", RunContext(cluster), identify=IdentifyParameters(eps=1e-9))
    again = run(few_videos, tmp_path / "out", RunContext(cluster, dry_run=True), identify=IdentifyParameters(eps=1e-9))
    assert planned.totals is None
    assert planned.stage("identify").num_run == second.stage("identify").num_run == 1
    assert planned.stage("export").waits  # the clips to export are not decided yet
    assert (again.stage("export").counts["clips"], again.stage("export").num_run) == (4, 0)
    assert [line for line in caplog.messages if line.startswith("export: ")] == [
        "export: other clips than before: of 1 file 1 is written anew and 0 are removed; "
        "choose another output folder to keep the earlier export"
    ]
    assert first.totals.removed == 2
    assert second.totals.removed == 0
    assert [result.stage for result in second.stages if result.num_run] == ["identify", "export"]


def test_a_run_is_refused_before_any_work_and_a_dry_run_likewise(tmp_path, copied, few_videos, cluster):
    before = times(tmp_path)
    for context in (RunContext(cluster), RunContext(cluster, dry_run=True)):
        with pytest.raises(FolderInUseError, match="n_clusters was not given and is now 2"):
            run(few_videos, copied, context, kmeans=KMeansParameters(n_clusters=2))
    assert times(tmp_path) == before


@pytest.mark.usefixtures("copied")
def test_other_parameters_are_refused_by_name(tmp_path, few_videos, context):
    with pytest.raises(FolderInUseError, match="fixed_stride_split_duration was 10.0 and is now 2.0"):
        run(few_videos, tmp_path / "out", context, split={"fixed_stride_split_duration": 2.0})
    replaced = run(
        few_videos,
        tmp_path / "out",
        RunContext(context.cluster, overwrite=True),
        split={"fixed_stride_split_duration": 2.0},
    )
    assert replaced.totals.clips == 8
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 8


def test_without_clip_files_the_vectors_come_from_the_sources(tmp_path, few_videos, context):
    result = run(few_videos, tmp_path / "out", context, split={"upload_clips": False})
    assert not (tmp_path / "out" / "clips").exists()
    assert result.totals.clips == 4
    assert result.totals.removed == 2
    assert [stage.stage for stage in result.stages][-1] == "identify"


def test_overlapping_spans_and_relative_ids(tmp_path, few_videos, context):
    moved = tmp_path / "elsewhere"
    shutil.copytree(few_videos, moved)
    options = {"fixed_stride_split_duration": 2.0, "fixed_stride_stride": 1.0, "relative_ids": True}
    for videos, out in ((few_videos, tmp_path / "a"), (moved, tmp_path / "b")):
        SplitStage(str(videos), str(out), **options).run(context=context)
    ids = [set(pq.read_table(tmp_path / name / "clips.parquet")["id"].to_pylist()) for name in "ab"]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 16 - 4  # starts 0, 1, 2; the tail from 3 is shorter than 2 s


def test_a_run_without_a_clip_leaves_its_folder_to_the_corrected_command(tmp_path, few_videos, context):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match="not-a-video"):
        run(tmp_path / "bad", tmp_path / "out", context)
    too_long = {"fixed_stride_split_duration": 100.0, "fixed_stride_min_clip_length_s": 90.0}
    for _ in range(2):  # the same command again is not refused either
        with pytest.raises(InputError, match="shorter than the shortest clip"):
            run(few_videos, tmp_path / "out", context, split=too_long)
    assert run(few_videos, tmp_path / "out", context).totals.clips == 4
    with pytest.raises(FolderInUseError, match="fixed_stride_split_duration was 10"):
        run(few_videos, tmp_path / "out", context, split=too_long)


def test_nothing_usable_ends_with_a_clear_error(tmp_path, context):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"no clip came out of the videos .*not-a-video"):
        run(tmp_path / "v", tmp_path / "out", context)
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path / "missing", tmp_path / "out2", context)
    assert not (tmp_path / "out2").exists()


PARAMETER_CLASSES = (
    SplitStage,
    EmbedParameters,
    KMeansParameters,
    PairwiseParameters,
    AlignParameters,
    IdentifyParameters,
    ExportParameters,
    Workflow,
)
STAGES_OF_WORKFLOW = {"split", "embed", "kmeans", "pairwise", "align", "identify", "export"}
LEFT_OUT = {
    "random_seed": "random_state",
    "ranking_strategy": "keep",
    "source_field": "scope",
    "vectors": "frames_from",
}
"""Parameters that `curate` does not take, and the one that stands for each."""


def test_curate_has_every_parameter_with_its_default_and_its_line():
    expected = {
        one.name: None if one.default is MISSING and one.default_factory is not MISSING else one.default
        for owner in PARAMETER_CLASSES
        for one in fields(owner)
        if one.init and one.name not in STAGES_OF_WORKFLOW | LEFT_OUT.keys()
    }
    signature = inspect.signature(curate).parameters
    defaults = {name: MISSING if one.default is one.empty else one.default for name, one in signature.items()}
    assert defaults.pop("client") is None
    assert defaults.pop("retry_failed") is False
    assert defaults == expected
    assert LEFT_OUT.keys() & signature.keys() == set()
    assert set(LEFT_OUT.values()) <= signature.keys()
    assert all(one.annotation is not one.empty for one in signature.values())
    explained = re.findall(r"^    (\w+): ", inspect.getdoc(curate).split("Returns:")[0], re.MULTILINE)
    assert explained == list(signature)


def test_curate_takes_the_parameters_of_both_and_paths_from_where_it_is_called(
    tmp_path, few_videos, cluster, monkeypatch
):
    client = cluster.client  # its workers are elsewhere
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(few_videos, tmp_path)
    result = curate(relative, "out", client=client, eps=0.0001, limit_clips=1)
    assert (result.totals.clips, result.totals.failed) == (4, 0)
    assert (tmp_path / "out" / "dataset").is_dir()
    assert isinstance(CuratorError(), Exception)


def test_a_full_disk_costs_time_and_nothing_else(few_videos, small_disk, context, tmp_path):
    videos = tmp_path / "two"
    videos.mkdir()
    for name in ("scene_0.mp4", "scene_1.mp4"):  # of 180 kB each
        shutil.copy(few_videos / name, videos)
    split = SplitStage(str(videos), str(small_disk("size=300k") / "out"))
    first = split.run(context=context)
    assert 0 < first.counts["videos_open"] == first.num_open == len(first.failures)
    assert {failure.reason for failure in first.failures} <= {"no-space", "machine-error"}
    assert all("No space left on device" in failure.message for failure in first.failures), first.failures
    small_disk("size=100m")
    second = split.run(context=context)
    assert (second.num_run, second.num_skipped) == (first.counts["videos_open"], first.counts["videos_processed"])
    assert (second.counts["clips"], second.failures) == (2, ())


@pytest.mark.parametrize(("keep", "sign"), [("largest,longest", 1), ("smallest", -1)])
def test_what_to_keep_in_words(tmp_path, few_videos, context, keep, sign):
    out = tmp_path / "out"
    run(few_videos, out, context, keep=keep)
    clips = pq.read_table(out / "clips.parquet", columns=["id", "width", "height"]).to_pylist()
    pixels = {clip["id"]: clip["width"] * clip["height"] for clip in clips}
    pairs = pq.read_table(out / "duplicates" / "duplicates.parquet", columns=["id", "kept_id"]).to_pylist()
    differences = [sign * (pixels[pair["kept_id"]] - pixels[pair["id"]]) for pair in pairs]
    assert len(pairs) == 2
    assert min(differences) >= 0
    assert max(differences) > 0


@pytest.mark.shared
@pytest.mark.timeout(600)
def test_real_videos(tmp_path, real_videos, context):
    """Every real file goes through; what cannot be used is a failure with a reason, and the near-duplicates are found.

    Only two clips of each file: the long files would take most of the suite's time.
    """
    out = tmp_path / "out"
    result = run(real_videos, out, context, split={"limit_clips": 2})
    manifest = json.loads((real_videos / "MANIFEST.json").read_text())["files"]
    counts = result.stage("split").counts
    assert counts["videos_found"] == counts["videos_processed"] == len(manifest)
    totals = result.totals
    assert totals.clips == totals.kept + totals.removed + totals.plain + totals.failed == counts["clips_planned"]
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert len(failures) == totals.failed
    assert all(failure["reason"] and failure["message"] for failure in failures)
    assert verify_dataset(str(out / "dataset"), duplicates_path=str(out / "duplicates")).faults == ()
    removed = set((out / "duplicates" / "remove.txt").read_text().split())
    clips = pq.read_table(out / "clips.parquet").to_pylist()

    def one_went(a: tuple[str, float], b: tuple[str, float]) -> bool:
        ids = [clip["id"] for clip in clips if (clip["relative_path"], clip["start_s"]) in (a, b)]
        assert len(ids) == 2
        return bool(removed & set(ids))

    for start in (0.0, 10.0):
        assert one_went(("bottle_40s_360p29_83.mp4", start), ("made_vfr_640x360.mp4", start))
    assert one_went(("bbb_642x642_vp9.webm", 0.0), ("bbb_firstpts10_sar.mp4", 0.0))


@pytest.mark.shared
def test_real_near_duplicates_of_other_timing(tmp_path, real_videos, context):
    """The second chair video begins 3.7 s earlier than the first and has a logo: as whole videos they are a pair."""
    videos = tmp_path / "v"
    videos.mkdir()
    for path in real_videos.glob("neardup_*"):
        shutil.copy2(path, videos / path.name)
    shutil.copy2(real_videos / "cosmos_30s_480p24.mp4", videos)
    result = run(videos, tmp_path / "out", context, split={"fixed_stride_split_duration": 40.0})
    assert str(result.totals) == "3 clips = 2 kept + 1 removed + 0 failed"


@pytest.mark.shared
@pytest.mark.timeout(600)
def test_hostile_files(tmp_path, bad_videos, context):
    """No hostile file stops the run, and each one is accounted for."""
    videos = tmp_path / "v"
    shutil.copytree(bad_videos, videos)
    (videos / "MANIFEST.json").unlink()
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    result = SplitStage(str(videos), str(tmp_path / "out")).run(context=context)
    counts = result.counts
    assert counts["videos_found"] == counts["videos_processed"] + counts["videos_failed"] + counts["videos_skipped"]
    assert counts["clips_planned"] == counts["clips"] + counts["clips_failed"]
    rejected = {Path(failure.source).name for failure in result.failures if not failure.clip_id}
    must_fail = {
        "zero_bytes.mp4", "text_renamed.mp4", "html_renamed.mp4", "random_bytes.mp4", "only_ftyp.mp4", "no_moov.mp4",
        "truncated_no_moov.mp4", "hls_ssrf.mp4", "hls_local_media.mp4", "hls_concat_leak.mp4", "dash_mpd.mp4", "sdp.mp4",
        "imf_cpl.mp4", "concat_script.mp4", "audio_only.mp4", "wav_renamed.mp4", "mp3_coverart.mp4",
        "one_by_one_pixel_yuv444.mp4", "bomb_8192x8192_60f.mp4",
    }  # fmt: skip
    assert must_fail <= rejected
    assert all(failure.message for failure in result.failures)
