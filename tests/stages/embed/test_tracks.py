"""Tracks come beside the vectors, wherever the frames come from and whichever model makes the vectors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import EmbedStage, SplitStage
from curator_dask.data.beside_vectors.track_files import read_tracks
from curator_dask.data.vector_files import VectorFiles
from curator_dask.files.folder import Folder
from curator_dask.models import register_callable, registry
from curator_dask.models.pdqf.pdqf_tmk import PdqfTmkWithoutBars
from curator_dask.models.pdqf.track import TRACK_VERSION
from curator_dask.models.pdqf.tracker import Tracker
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import run_task
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed import spec as embed_spec
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.embed.worker import embed_unit, embed_units
from curator_dask.verify.verify_output import verify_output
from curator_dask.video.frames import read
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.process.ffmpeg import FFMPEG_VARIABLE, ffmpeg_path
from tests.trees import results, tree, tree_without_index

OF_FILE = 1200
"""Bytes of a Parquet file with hardly any rows: the description of its columns."""
DEFAULT = "pdqf_tmk_nobars"


def split_and_embed(videos, out, context, model=DEFAULT, *, tapped=True, **parameters):
    embed = EmbedStage(str(out), embedding_algorithm=model, video_dir=str(videos), **parameters)
    SplitStage(str(videos), str(out), vectors=embed if tapped else None).run(context=context)
    return embed.run(context=context)


def tracks_of(out, model=DEFAULT):
    folder = Folder(str(out / f"{model}_embd_parquet"))
    paths = [entry.path for entry in folder.entries("_tracks")]
    return {row.id: row for row in read_tracks(folder, paths)}


@pytest.fixture(scope="module")
def tapped(tmp_path_factory, few_videos, cluster):
    out = tmp_path_factory.mktemp("tracked") / "out"
    split_and_embed(few_videos, out, RunContext(cluster))
    return out


def assert_alike(some, others):
    """Same clips, at the same places. The frames differ by one encoding, which changes a track by 2 % of its length at most."""
    assert some.keys() == others.keys()
    for name, one in some.items():
        windows, others_windows = (row.track.windows.astype(float) for row in (one, others[name]))
        assert np.linalg.norm(windows - others_windows) <= 0.02 * np.linalg.norm(windows)
        assert (one.source, one.track.start_s) == (others[name].source, others[name].track.start_s)


def test_every_clip_has_a_track_from_the_cut(tapped, few_videos):
    index = {row["id"]: row for row in pq.read_table(tapped / "clips.parquet").to_pylist()}
    tracks = tracks_of(tapped)
    assert tracks.keys() == index.keys()
    for name, row in tracks.items():
        with av.open(str(tapped / index[name]["clip_path"])) as clip:
            shown_s = float(clip.streams.video[0].frames / clip.streams.video[0].average_rate)
        assert abs(len(row.track.windows) - 2 * shown_s) <= 1
        assert row.track.usable.all()
        assert (row.source, row.track.start_s) == (index[name]["relative_path"], index[name]["start_s"])


def test_readers_of_vectors_do_not_see_them(tapped):
    folder = tapped / f"{DEFAULT}_embd_parquet"
    entries = VectorFiles.of(str(folder), "parquet", Folder).entries()
    assert sorted(entry.path for entry in entries) == sorted(path.name for path in folder.glob("[!_]*.parquet"))
    assert pq.read_table(folder).column_names == ["id", "embedding"]
    assert json.loads((folder / "_fingerprint.json").read_text())["track_version"] == TRACK_VERSION


def test_clip_files_and_models_of_other_frames_give_nearly_the_same(tapped, few_videos, context, tmp_path, monkeypatch):
    from_cut = tracks_of(tapped)
    EmbedStage(str(tapped), str(tmp_path / "clips"), frames_from="clips").run(context=context)
    assert_alike(tracks_of(tmp_path / "clips"), from_cut)
    monkeypatch.setattr(registry, "_registered", {})
    rule = FrameRule.spread(2, width=8, height=8)
    register_callable("colour", lambda frames: frames.mean(axis=(0, 1, 2)), frame_rule=rule, light=True)
    try:
        embed_spec.cached_model.cache_clear()
        result = split_and_embed(few_videos, tmp_path / "cut", context, "colour")
        assert (result.num_run, result.counts["embeddings"]) == (0, 4)
        tables = {name: row.track.windows.tolist() for name, row in tracks_of(tmp_path / "cut", "colour").items()}
        assert sorted(tables.values()) == sorted(row.track.windows.tolist() for row in from_cut.values())
        for frames_from in ("clips", "source"):
            out = tmp_path / frames_from
            stage = EmbedStage(str(tapped), str(out), "colour", video_dir=str(few_videos), frames_from=frames_from)
            stage.run(context=context)
            assert_alike(tracks_of(out, "colour"), from_cut)
    finally:
        embed_spec.cached_model.cache_clear()


@pytest.fixture
def heavy(monkeypatch):
    """A model that is too slow for the process that cuts, and sees other frames than the track."""
    monkeypatch.setattr(registry, "_registered", {})
    rule = FrameRule.spread(2, width=8, height=8)
    register_callable("heavy", lambda frames: frames.mean(axis=(0, 1, 2)), frame_rule=rule, light=False)
    embed_spec.cached_model.cache_clear()
    yield "heavy"
    embed_spec.cached_model.cache_clear()


def test_tracks_of_a_heavy_model_come_from_the_cut(tapped, few_videos, context, tmp_path, heavy, monkeypatch):
    stage = EmbedStage(str(tmp_path), embedding_algorithm=heavy, video_dir=str(few_videos)).resolved()
    SplitStage(str(few_videos), str(tmp_path), vectors=stage).run(context=context)
    assert verify_output(str(tmp_path)).findings == ()
    decoded = []
    for name in ("read_clip_frames", "read_source_by_rules"):
        monkeypatch.setattr(read, name, noting_rules(decoded, getattr(read, name)))
    for frames_from in ("clips", "source"):
        stage = replace(stage, output_path=str(tmp_path / frames_from), frames_from=frames_from)
        embed_here(stage, context)
        assert set(decoded) == {stage.model().frame_rule}
        found, wanted = tracks_of(tmp_path / frames_from, heavy), tracks_of(tapped)
        assert windows_by_place(found) == windows_by_place(wanted)
        decoded.clear()


def noting_rules(noted, reader):
    def read_and_note(*places, **more):
        for place in places:
            noted.extend(
                rule for rule in (place if isinstance(place, tuple) else [place]) if isinstance(rule, FrameRule)
            )
        return reader(*places, **more)

    return read_and_note


def test_tracks_of_another_cut_are_not_taken(tapped, few_videos, context, tmp_path, heavy):
    stage = EmbedStage(str(tmp_path), embedding_algorithm=heavy, video_dir=str(few_videos)).resolved()
    SplitStage(str(few_videos), str(tmp_path), vectors=stage).run(context=context)
    one, other, *_ = sorted(tmp_path.glob(".curator/split/units/*.arrow"))
    other.write_bytes(one.read_bytes())
    one.write_bytes(one.read_bytes()[:99])
    embed_here(stage, context)
    assert_alike(by_place(tracks_of(tmp_path, heavy)), by_place(tracks_of(tapped)))


def embed_here(stage, context):
    """Run all units of a stage in this process."""
    units = plan_units(stage.spec())
    stage.claim(context)
    run_task(StageState(stage.output, stage.name), units, embed_unit, embed_units)


def windows_by_place(tracks):
    return {place: row.track.windows.tolist() for place, row in by_place(tracks).items()}


def by_place(tracks):
    return {(row.source, row.track.start_s): row for row in tracks.values()}


def test_a_ready_clip_is_decoded_once_for_its_vector_and_its_track(tapped, tmp_path, context, heavy, monkeypatch):
    """Whatever frames the model sees. An ffmpeg that notes each of its starts counts the decodes."""
    shutil.copytree(tapped / "clips", tmp_path / "ready")
    starts, program = tmp_path / "starts", tmp_path / "noting_ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$*" >> {starts}\nexec {ffmpeg_path()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv(FFMPEG_VARIABLE, str(program))
    ffmpeg_path.cache_clear()
    try:
        embed_here(EmbedStage(str(tmp_path / "ready"), str(tmp_path / "out"), heavy).resolved(), context)
    finally:
        ffmpeg_path.cache_clear()
    clips = sorted(path.name for path in (tmp_path / "ready").iterdir())
    lines = starts.read_text().splitlines()
    assert sorted(name for line in lines for name in clips if name in line) == clips
    assert len(lines) == len(clips)
    assert sorted(f"{name}.mp4" for name in tracks_of(tmp_path / "out", heavy)) == clips
    assert pq.read_table(tmp_path / "out" / f"{heavy}_embd_parquet").num_rows == len(clips)


def test_a_folder_of_ready_clips(tapped, few_videos, context, tmp_path):
    shutil.copytree(tapped / "clips", tmp_path / "ready" / "sub")
    EmbedStage(str(tmp_path / "ready"), embedding_algorithm="pdqf_tmk_level1").run(context=context)
    tracks = tracks_of(tmp_path / "ready", "pdqf_tmk_level1")
    assert {f"sub/{name}" for name in tracks_of(tapped)} == tracks.keys()
    assert all(row.source == row.id and row.track.start_s == 0 for row in tracks.values())


def test_what_is_missing_is_made_again_and_nothing_else_changes(tapped, few_videos, context, tmp_path):
    stage = EmbedStage(str(tapped), str(tmp_path), video_dir=str(few_videos))
    assert stage.run(context=context).num_run == 4
    folder = tmp_path / f"{DEFAULT}_embd_parquet"
    before = tree(tmp_path)
    next(folder.glob("_tracks/*")).unlink()
    assert stage.run(context=context).num_run == 1
    assert tree(tmp_path) == before
    make_old(folder)
    assert EmbedStage(str(tapped), str(tmp_path), tracks=False).run(context=context).num_run == 0
    assert stage.run(context=context).num_run == 4
    assert tree(tmp_path) == before


def make_old(folder):
    """Leave the folder as a version without tracks would."""
    shutil.rmtree(folder / "_tracks")
    fingerprint = json.loads((folder / "_fingerprint.json").read_text())
    del fingerprint["track_version"]
    (folder / "_fingerprint.json").write_text(json.dumps(fingerprint))
    for marker in folder.glob(".curator/embed/units/*.json"):
        record = json.loads(marker.read_text())
        del record["seal"], record["hashes"]
        record["data"] = {}
        record["outputs"] = {path: size for path, size in record["outputs"].items() if not path.startswith("_")}
        marker.write_text(json.dumps(record))


def test_one_worker_writes_the_same_bytes_as_two(tapped, few_videos, one_worker):
    moved = tapped.with_name("of two workers")
    tapped.rename(moved)
    try:
        split_and_embed(few_videos, tapped, one_worker, tapped=False)
        assert tree_without_index(tapped) == tree_without_index(moved)
    finally:
        shutil.rmtree(tapped, ignore_errors=True)
        moved.rename(tapped)


def test_a_plain_clip_has_a_track_and_no_vector(tmp_path, context):
    (tmp_path / "ready").mkdir()
    with av.open(str(tmp_path / "ready" / "grey.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(45):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8))))
        video.mux(stream.encode())
    (tmp_path / "ready" / "torn.mp4").write_bytes(b"no video")
    result = EmbedStage(str(tmp_path / "ready")).run(context=context)
    assert result.counts == {"clips_in": 2, "embeddings": 0, "clips_plain": 1, "clips_failed": 1}
    (row,) = tracks_of(tmp_path / "ready").values()
    assert (row.id, len(row.track.windows), row.track.usable.any()) == ("grey", 6, np.False_)


def test_a_track_that_fails_does_not_cost_the_vector_and_is_tried_again(tapped, context, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no track today")

    stage = EmbedStage(str(tapped), str(tmp_path), frames_from="clips")
    units = plan_units(stage.spec())
    stage.claim(context)
    with monkeypatch.context() as broken:
        broken.setattr(PdqfTmkWithoutBars, "embed_with_tracks", fails)
        broken.setattr(Tracker, "track", fails)
        records = run_task(StageState(stage.output, stage.name), units, embed_unit, embed_units)
    assert [record.counts for record in records] == [{"embeddings": 1, "clips_plain": 0, "clips_failed": 0}] * 4
    assert not tracks_of(tmp_path)
    vectors = results(tmp_path)
    assert stage.run(context=context).num_run == 4
    assert len(tracks_of(tmp_path)) == 4
    changed = results(tmp_path).items() - vectors.items()
    assert all(any(word in path for word in ("track", "fingerprint", "quality")) for path, _ in changed)


def test_their_size_on_disk(tmp_path, context):
    from curator_dask.video.samples import render_samples

    render_samples(tmp_path / "videos", num_scenes=1, length_s=21.0)
    split_and_embed(tmp_path / "videos", tmp_path / "out", context)
    files = list((tmp_path / "out").glob("*/_tracks/*.parquet"))
    rows = pq.read_table(tmp_path / "out" / "clips.parquet").to_pylist()
    seconds = sum(row["end_s"] - row["start_s"] for row in rows if row["valid"])
    per_second = sum(file.stat().st_size - OF_FILE for file in files) / seconds
    print(f"{per_second:.0f} bytes per second of video, and {OF_FILE} per file")
    assert 0 < per_second < 200


def test_vectors_stay_where_clips_are_gone_before_they_get_tracks(few_videos, context, tmp_path):
    SplitStage(str(few_videos), str(tmp_path)).run(context=context)
    how = {"frames_from": "clips", "video_dir": None}
    first = EmbedStage(str(tmp_path), **how, tracks=False).run(context=context)
    before = {path: path.read_bytes() for path in first_vectors(tmp_path)}
    for clip in (tmp_path / "clips").iterdir():
        clip.unlink()

    result = EmbedStage(str(tmp_path), **how).run(context=context)

    assert result.counts == first.counts
    assert {path: path.read_bytes() for path in first_vectors(tmp_path)} == before
    assert before


def first_vectors(folder):
    return sorted((folder / "pdqf_tmk_nobars_embd_parquet").glob("*.parquet"))
