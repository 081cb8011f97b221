from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.errors import InputError
from curator_dask.export.card import dataset_card
from curator_dask.export.manifest import Manifest, energon_command, manifest_text, read_manifest, wids_indexes
from curator_dask.export.shards import ShardResult

SHARDS = (
    ShardResult("train", "000000.tar", 5, 1000, "s0", "m0", "k0"),
    ShardResult("train", "000001.tar", 3, 700, "s1", "m1", "k1"),
    ShardResult("val", "000000.tar", 2, 400, "s2", "m2", "k2"),
)
MANIFEST = Manifest(
    "films", ("json", "mp4"), {"order": "shuffled", "seed": 0, "splits": {"train": 0.8, "val": 0.2}}, SHARDS
)


def front_matter(card: str):
    lines = card.splitlines()
    assert lines[0] == "---"
    end = lines.index("---", 1)
    return yaml.safe_load("\n".join(lines[1:end])), "\n".join(lines[end + 1 :])


def test_the_manifest_holds_every_count():
    data = json.loads(manifest_text(MANIFEST))
    assert data["totals"] == {"shards": 3, "samples": 10, "num_bytes": 2100}
    assert data["splits"]["train"] == {"shards": 2, "samples": 8, "num_bytes": 1700}
    assert data["shards"][2] == {
        "split": "val",
        "name": "000000.tar",
        "samples": 2,
        "num_bytes": 400,
        "sha256": "s2",
        "md5": "m2",
        "keys_sha256": "k2",
    }
    assert data["parameters"] == MANIFEST.parameters


def test_the_manifest_survives_being_written():
    assert read_manifest(manifest_text(MANIFEST)) == MANIFEST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "other"}, "a manifest of kind 'other'"),
        ({"version": 2}, "version 2"),
        ({"shards": None}, "not the manifest of an export"),
        ({"shards": [{}]}, "KeyError: 'split'"),
        ({"members": 3}, "not the manifest of an export"),
        ({"totals": {"shards": 3, "samples": 11, "num_bytes": 2100}}, "not the sums of its shards"),
    ],
    ids=["kind", "version", "no shards", "an empty shard", "members", "totals"],
)
def test_what_is_no_manifest(changes, message):
    text = json.dumps(json.loads(manifest_text(MANIFEST)) | changes)
    with pytest.raises(InputError, match=re.escape(message)):
        read_manifest(text)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", "[" * 100_000, "3"], ids=["", "list", "object", "text", "deep", "number"]
)
def test_text_that_is_no_manifest(text):
    with pytest.raises(InputError, match="not the manifest of an export"):
        read_manifest(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../x.tar"),
        ("name", "/etc/passwd"),
        ("split", ".."),
        ("split", "a/b"),
        ("samples", "5"),
        ("samples", True),
    ],
)
def test_a_manifest_that_points_elsewhere(field, value):
    data = json.loads(manifest_text(MANIFEST))
    data["shards"][0][field] = value
    with pytest.raises(InputError, match="the manifest"):
        read_manifest(json.dumps(data))


def test_wids_gets_an_index_a_split():
    indexes = {name: json.loads(text) for name, text in wids_indexes(MANIFEST).items()}
    assert list(indexes) == ["index.json", "index-val.json"]
    assert indexes["index.json"] == {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": "films-train",
        "shardlist": [
            {"url": "train/000000.tar", "md5sum": "m0", "nsamples": 5, "filesize": 1000},
            {"url": "train/000001.tar", "md5sum": "m1", "nsamples": 3, "filesize": 700},
        ],
    }
    assert [shard["url"] for shard in indexes["index-val.json"]["shardlist"]] == ["val/000000.tar"]


def test_the_card_names_the_tars_of_each_split():
    head, body = front_matter(dataset_card(MANIFEST))
    (config,) = head["configs"]
    assert config == {
        "config_name": "default",
        "data_files": [{"split": "train", "path": "train/*.tar"}, {"split": "val", "path": "val/*.tar"}],
    }
    assert head["size_categories"] == ["n<1K"]
    assert "| train | 2 | 8 | 1700 |\n| val | 1 | 2 | 400 |" in body
    assert "import wids  # a part of webdataset before 1.0; it needs torch" in body


@pytest.mark.parametrize(
    ("samples", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**7, "n>10M")]
)
def test_size_categories(samples, category):
    manifest = replace(MANIFEST, shards=(replace(SHARDS[0], samples=samples),))
    assert front_matter(dataset_card(manifest))[0]["size_categories"] == [category]


@given(
    st.text(max_size=80)
    | st.sampled_from(["a\n---\nb", '"]\n---\n', "<script>", "![x](http://x)", "\x85---\u2028---", "\ud800"])
)
def test_no_name_breaks_out_of_the_card(name):
    card = dataset_card(replace(MANIFEST, name=name))
    card.encode("utf-8")
    head, body = front_matter(card)
    assert list(head) == ["pretty_name", "tags", "size_categories", "configs"]
    assert isinstance(head["pretty_name"], str)
    assert len(head["configs"]) == 1
    title, *rest = body.strip().splitlines()
    plain, *_ = dataset_card(replace(MANIFEST, name="x")).partition("# x\n")[2:]
    assert title.startswith("# ")
    assert not re.search(r"[<>\[\]()`*]", title)
    assert "\n".join(rest).strip() == plain.strip()


def test_the_command_for_energon():
    assert energon_command("out") == (
        "energon prepare out --non-interactive --split-ratio 1,0,0 --sample-type CrudeWebdataset"
    )
    several = shlex.split(energon_command("out", ["train", "val"]))
    assert several[4:8] == ["--split-parts", "train:train/.*", "--split-parts", "val:val/.*"]


@pytest.mark.parametrize(
    ("folder", "word"), [("a b;rm -rf $HOME", "a b;rm -rf $HOME"), ("-x", "./-x"), ("it's", "it's")]
)
def test_a_folder_is_one_word_of_the_command(folder, word):
    assert shlex.split(energon_command(folder))[2] == word
