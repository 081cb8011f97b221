"""Paths below the output folder: those of the original workflow, and names that every disk takes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask import ClipWriterStage
from curator_dask.files import layout
from curator_dask.files.folder import Folder


@pytest.mark.parametrize("out", ["/data/out", "/data/out/", "s3://bucket/out", "out"])
def test_helpers_of_the_original_workflow(out):
    base = out.rstrip("/")
    assert {
        "processed_videos": ClipWriterStage.get_output_path_processed_videos(out),
        "processed_clip_chunks": ClipWriterStage.get_output_path_processed_clip_chunks(out),
        "previews": ClipWriterStage.get_output_path_previews(out),
        "clips": ClipWriterStage.get_output_path_clips(out),
        "filtered_clips": ClipWriterStage.get_output_path_clips(out, filtered=True),
        "metas/v0": ClipWriterStage.get_output_path_metas(out, "v0"),
        "iv2_embd": ClipWriterStage.get_output_path_iv2_embd(out),
        "ce1_embd": ClipWriterStage.get_output_path_ce1_embd(out),
        "iv2_embd_parquet": ClipWriterStage.get_output_path_iv2_embd_parquet(out),
        "ce1_embd_parquet": ClipWriterStage.get_output_path_ce1_embd_parquet(out),
    } == {name: f"{base}/{name}" for name in (
        "processed_videos", "processed_clip_chunks", "previews", "clips", "filtered_clips", "metas/v0",
        "iv2_embd", "ce1_embd", "iv2_embd_parquet", "ce1_embd_parquet",
    )}  # fmt: skip


def test_paths_below_the_output():
    assert layout.clip_path("id") == "clips/id.mp4"
    assert layout.meta_path("id") == "metas/v0/id.json"
    assert layout.processed_video_path("a/b.mp4") == "processed_videos/a/b.mp4.json"
    assert layout.processed_chunk_path("a/b.mp4", 0) == "processed_clip_chunks/a/b.mp4_0.json"
    assert layout.centroid_file(7) == "centroid=7/part-0.parquet"
    assert layout.pairwise_file(7) == "cluster_7.parquet"


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("internvideo2", "iv2_embd_parquet"),
        ("cosmos-embed1-224p", "ce1_embd_parquet"),
        ("cosmos-embed1-448p", "ce1_embd_parquet"),
        ("pdqf_tmk", "pdqf_tmk_embd_parquet"),
        ("org/clip-vit b.32", "org_clip-vit_b_32_embd_parquet"),
        ("/models/x", "models_x_embd_parquet"),
        ("../..", "model_embd_parquet"),
    ],
)
def test_folders_of_vectors(model, folder):
    assert layout.embeddings_folder(model) == folder


def test_a_model_with_a_long_path_still_gets_a_folder(tmp_path):
    one, other = (layout.embeddings_folder("/m" * 300 + end) for end in ("a", "b"))
    assert one != other
    (tmp_path / one).mkdir()


@pytest.mark.parametrize("path", ["a.mp4", "a b/é日本.mp4", "x" * 240, "a/.hidden"])
def test_plain_names_stay_as_they_are(path):
    assert layout.safe_relative(path) == path


@pytest.mark.parametrize(
    "path",
    ["../up.mp4", "a/../../b.mp4", "/abs.mp4", "a//b.mp4", "a/./b.mp4", "a/", "..", "", "x" * 241, "é" * 200 + "/b.mp4",
     "a\nb.mp4", os.fsdecode(b"\xff.mp4"), "a\0b.mp4"],
)  # fmt: skip
def test_other_names_are_made_safe(path, tmp_path):
    safe = layout.safe_relative(path)
    assert safe != path
    assert len(safe.split("/")) == len(path.split("/"))
    folder = Folder(str(tmp_path))
    written = layout.processed_chunk_path(safe, 0)
    folder.write_bytes(written, b"x")
    assert [entry.path for entry in folder.entries(hidden=True)] == [written]


@given(st.lists(st.text(st.characters(codec=None), max_size=6), min_size=2, max_size=2, unique=True))
def test_two_names_never_become_one(names):
    one, other = map(layout.safe_relative, names)
    assert one != other
    for safe in (one, other):
        assert not {"", ".", ".."} & set(safe.split("/"))
        assert safe.isprintable()


def test_names_cut_at_the_same_place_stay_apart():
    one, other = (layout.safe_relative("é" * 300 + end) for end in ("a", "b"))
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= layout.MAX_NAME_BYTES
