"""A real export, read by the loaders that people train with."""

from __future__ import annotations

import collections
import json
from dataclasses import replace

import pytest
import torch
import webdataset

from curator_dask.export.plan import PlanParameters
from curator_dask.export.samples import ClipMetadata

SPLITS = {"train": 0.6, "val": 0.4}


@pytest.fixture(scope="module")
def export(clips, tmp_path_factory):
    """A folder with embeddings and two splits, several shards each."""
    out = tmp_path_factory.mktemp("export")
    manifest = clips.export(out, PlanParameters(shard_clips=3, splits=SPLITS, min_shards=2), with_embeddings=True)
    assert {split: sum(s.samples for s in shards) for split, shards in manifest.splits.items()} == {
        "train": 8,
        "val": 4,
    }
    return out


@pytest.fixture
def hugging_face(monkeypatch, tmp_path):
    """The datasets library, offline, with its caches in the test's own folder."""
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return datasets


def tars(folder, split="train"):
    return [str(path) for path in sorted((folder / split).glob("*.tar"))]


def check_samples(samples, clips, split_size):
    """Check that every sample is there once, with the bytes of the clip's file and the JSON of the clip's record."""
    known = {record.id: record for record in clips.records}
    assert len({sample["__key__"] for sample in samples}) == len(samples) == split_size
    for sample in samples:
        record = known[sample["json"]["id"]]
        assert sample["__key__"] == record.id
        assert sample["json"]["source_video"] == record.source_video
        assert sample["json"]["cosine_sim_score"] == record.cosine_sim_score
        assert sample["mp4"] == clips.media(record.id)
        assert len(sample["npy"]) == 16


# webdataset leaves the tars that it has read to the garbage collector.
unclosed = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@unclosed
@pytest.mark.parametrize(("split", "size"), [("train", 8), ("val", 4)])
def test_webdataset(export, clips, split, size):
    check_samples(list(webdataset.WebDataset(tars(export, split), shardshuffle=False).decode()), clips, size)


@unclosed
def test_webdataset_with_a_brace_pattern_in_a_data_loader_with_two_workers(export, clips):
    pattern = f"{export}/train/{{000000..{len(tars(export)) - 1:06d}}}.tar"
    samples = webdataset.WebDataset(pattern, shardshuffle=False).decode()
    loader = torch.utils.data.DataLoader(samples, batch_size=None, num_workers=2)
    check_samples(list(loader), clips, 8)


@pytest.mark.parametrize("streaming", [False, True], ids=["prepared", "streaming"])
@pytest.mark.parametrize("by", ["folder", "files"])
def test_hugging_face(export, clips, hugging_face, tmp_path, by, streaming):
    options = {"streaming": streaming, "cache_dir": str(tmp_path / "cache")}
    if by == "folder":
        loaded = hugging_face.load_dataset(str(export), **options)
    else:
        files = {split: tars(export, split) for split in SPLITS}
        loaded = hugging_face.load_dataset("webdataset", data_files=files, **options)
    assert sorted(loaded) == ["train", "val"]
    for split, size in (("train", 8), ("val", 4)):
        samples = list(loaded[split].cast_column("mp4", hugging_face.Video(decode=False)))
        check_samples([{**sample, "mp4": sample["mp4"]["bytes"]} for sample in samples], clips, size)


def test_hugging_face_takes_the_tars_even_when_other_tools_left_files_beside_them(clips, hugging_face, tmp_path):
    out = tmp_path / "out"
    clips.export(out, name='"]\n---\nconfigs: [evil] # <script>')
    (out / "rows.jsonl").write_text('{"a": 1}\n')
    (out / "train" / "000000.tar.idx").write_text("0 0\n")
    loaded = hugging_face.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 12}
    assert set(loaded["train"].column_names) == {"json", "mp4", "__key__", "__url__"}


def test_hugging_face_sees_one_type_a_field_whatever_is_not_known(clips, hugging_face, tmp_path, record):
    out = tmp_path / "out"
    bare = [type(r)(r.id, r.source_video, r.start_s, r.end_s, r.num_bytes) for r in clips.records[:6]]
    clips.export(out, records=[*bare, *clips.records[6:]])
    rows = hugging_face.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    kinds = collections.Counter(str(feature.dtype) for feature in rows.features["json"].values())
    assert kinds == {"string": 5, "int64": 5, "float64": 4}
    assert sum(row["framerate"] == 0.0 for row in rows["json"]) == 6


CARRIED = {"title": "str", "year": "int", "tags": "list[str]"}


@pytest.fixture
def with_table(clips, tmp_path):
    """An export with captions and columns of a table, which say nothing of the first six clips."""
    rows = [dict.fromkeys(CARRIED)] * 6 + [{"title": f"film {n}", "year": n, "tags": ["a", None]} for n in range(6)]
    captions = [""] * 6 + [f"Ünï {n}" for n in range(6)]
    told = [ClipMetadata(json.dumps(row), caption) for row, caption in zip(rows, captions, strict=True)]
    records = [replace(clip, metadata=one) for clip, one in zip(clips.records, told, strict=True)]
    records = [replace(clip, source_video=f"{n:02}") for n, clip in enumerate(records)]  # the order of sorted shards
    clips.export(tmp_path / "out", PlanParameters(order="sorted", shard_clips=8), records=records, carried=CARRIED)
    return tmp_path / "out"


@unclosed
def test_webdataset_reads_columns_of_a_table_and_captions(with_table):
    samples = list(webdataset.WebDataset(tars(with_table), shardshuffle=False).decode())
    assert [sample["txt"] for sample in samples] == [""] * 6 + [f"Ünï {n}" for n in range(6)]
    assert [sample["json"]["metadata"]["year"] for sample in samples] == [None] * 6 + [*range(6)]


@pytest.mark.parametrize("by", ["folder", "files"])
@pytest.mark.parametrize("streaming", [False, True], ids=["prepared", "streaming"])
def test_hugging_face_reads_a_table_that_says_nothing_of_the_first_clips(
    with_table, hugging_face, tmp_path, by, streaming
):
    options = {"streaming": streaming, "cache_dir": str(tmp_path / "cache")}
    if by == "folder":
        rows = hugging_face.load_dataset(str(with_table), split="train", **options)
    else:
        features = hugging_face.load_dataset_builder(str(with_table)).info.features
        files = {"train": tars(with_table)}
        rows = hugging_face.load_dataset("webdataset", data_files=files, split="train", features=features, **options)
    read = list(rows.cast_column("mp4", hugging_face.Video(decode=False)))
    assert [row["txt"] for row in read] == [""] * 6 + [f"Ünï {n}" for n in range(6)]
    assert read[0]["json"]["metadata"] == dict.fromkeys(CARRIED)
    assert read[7]["json"]["metadata"] == {"title": "film 1", "year": 1, "tags": ["a", None]}
    kinds = rows.features["json"]["metadata"]
    assert (kinds["title"].dtype, kinds["year"].dtype, kinds["tags"].feature.dtype) == ("string", "int64", "string")


@pytest.mark.parametrize(("index", "split", "size"), [("index.json", "train", 8), ("index-val.json", "val", 4)])
def test_wids_index_is_true(export, index, split, size):
    """The facts that wids relies on, checked without wids: since version 1 the webdataset wheel no longer contains it."""
    read = json.loads((export / index).read_text())
    assert (read["__kind__"], read["wids_version"]) == ("wids-shard-index-v1", 1)
    assert [str(export / shard["url"]) for shard in read["shardlist"]] == tars(export, split)
    assert sum(shard["nsamples"] for shard in read["shardlist"]) == size
    assert all((export / shard["url"]).stat().st_size == shard["filesize"] for shard in read["shardlist"])


@pytest.mark.parametrize(("index", "split", "size"), [("index.json", "train", 8), ("index-val.json", "val", 4)])
def test_wids(export, clips, tmp_path, index, split, size):
    wids = pytest.importorskip("wids", reason="wids is part of webdataset before 1.0")
    rows = wids.ShardListDataset(str(export / index), cache_dir=str(tmp_path / "wids"), transformations=[])
    samples = [rows[number] for number in range(len(rows))]
    read = [
        {"__key__": s["__key__"], "json": json.load(s[".json"]), "mp4": s[".mp4"].read(), "npy": range(16)}
        for s in samples
    ]
    check_samples(read, clips, size)
