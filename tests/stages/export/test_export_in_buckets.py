"""An export whose clips do not fit into one block of rows: the same bytes, and nothing left of what it needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import ExportStage, InputError, PlanParameters, SplitStage
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.buckets import buckets
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_bytes
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.export.clips.chosen import choose
from curator_dask.stages.export.clips.sources import Sources
from tests.trees import times, tree


@pytest.fixture(scope="module")
def finished(few_videos, cluster, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("buckets") / "out"
    second = {"fixed_stride_split_duration": 1.0, "fixed_stride_min_clip_length_s": 1.0}
    SplitStage(str(few_videos), str(out), **second).run(context=RunContext(cluster))
    ids = ids_of(out)
    (out / "decided").mkdir()
    (out / "decided" / "keep.txt").write_bytes(id_list_bytes(ids[::2] + ids[1:4:2]))
    (out / "decided" / "remove.txt").write_bytes(id_list_bytes(ids[5::2]))
    (out / "pairwise").mkdir()
    scores = pa.table({"id": ids, "max_id": ids[:1] * len(ids), "cosine_sim_score": np.linspace(0, 1, len(ids))})
    pq.write_table(scores, out / "pairwise" / "cluster_3.parquet")
    return out


def ids_of(out: Path) -> list[str]:
    return pq.read_table(out / "clips.parquet")["id"].to_pylist()


FORMS = {
    "shards": {"shards": PlanParameters(shard_clips=3, splits={"train": 0.5, "val": 0.5})},
    "sorted": {"shards": PlanParameters(shard_clips=3, order="sorted", min_shards=5)},
    "table": {"format": "parquet"},
    "in place": {"format": "parquet", "media": "reference", "plain": "drop"},
}


def export(out: Path, to: Path, cluster, **parameters):
    own = {"duplicates_path": str(out / "decided"), "pairwise_path": str(out / "pairwise"), **parameters}
    return ExportStage(str(out), str(to), **own).run(context=RunContext(cluster))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_many_buckets_give_the_bytes_of_one(finished, cluster, tmp_path, monkeypatch, form):
    one = export(finished, tmp_path / "one", cluster, **form)
    monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
    monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    assert buckets.buckets_for(len(ids_of(finished))) >= 8
    many = export(finished, tmp_path / "many", cluster, **form)
    assert tree(tmp_path / "many") == tree(tmp_path / "one")
    assert (many.counts, many.num_run) == (one.counts, one.num_run)
    before = times(tmp_path / "one")
    assert export(finished, tmp_path / "one", cluster, **form).num_run == 0
    assert times(tmp_path / "one") == before


@pytest.mark.parametrize("block_rows", [4, 1000])
def test_clips_without_a_decision_are_counted_and_said(finished, cluster, tmp_path, monkeypatch, caplog, block_rows):
    monkeypatch.setattr(buckets, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    ids, decided = ids_of(finished), tmp_path / "decided"
    decided.mkdir()
    (decided / "keep.txt").write_bytes(id_list_bytes(ids[:2]))
    (decided / "remove.txt").write_bytes(id_list_bytes(ids[2:3]))
    (decided / "drop.txt").write_bytes(id_list_bytes(ids[3:4]))
    result = export(finished, tmp_path / "data", cluster, duplicates_path=str(decided))
    assert (result.counts["clips"], result.counts["clips_undecided"]) == (2, len(ids) - 4)
    (sentence,) = [line for line in caplog.messages if "no decision names" in line]
    assert f"are left out: {len(ids) - 4}, as they have no vector" in sentence
    assert sentence.endswith(", ".join(map(repr, sorted(ids[4:])[:3])))
    again = export(finished, tmp_path / "data", cluster, duplicates_path=str(decided))
    assert (again.counts, again.num_run) == (result.counts, 0)
    assert "clips_undecided" not in export(finished, tmp_path / "all", cluster).counts


def test_plans_of_shards_are_gone_when_these_are_written(finished, cluster, tmp_path):
    result = export(finished, tmp_path / "data", cluster, **FORMS["shards"])
    assert result.num_run == result.counts["shards"] > 2
    record = tmp_path / "data" / ".curator" / "export"
    names = {path.name for path in record.iterdir()}
    assert names == {"params.json", "units", "files.json", "summary.json", "failures.jsonl"}
    left = record / "plan" / "train-000009.tar.parquet"
    left.parent.mkdir()
    left.write_bytes(b"of a client that was killed")
    assert export(finished, tmp_path / "data", cluster, **FORMS["shards"]).num_run == 0
    assert not left.exists()


@pytest.mark.parametrize("block_rows", [4, 1000])
def test_clips_with_one_id_are_refused(finished, tmp_path, monkeypatch, cluster, block_rows):
    monkeypatch.setattr(buckets, "BLOCK_ROWS", block_rows)
    index = pq.read_table(finished / "clips.parquet")
    (tmp_path / "in").mkdir()
    pq.write_table(pa.concat_tables([index, index.slice(3, 1)]), tmp_path / "in" / "clips.parquet")
    with pytest.raises(InputError, match=f"clip {ids_of(finished)[3]} comes 2 times among the clips to export"):
        ExportStage(str(tmp_path / "in"), str(tmp_path / "out"), all_clips=True).run(context=RunContext(cluster))


def test_what_is_known_of_a_clip_meets_whatever_bucket_it_is_in(finished, tmp_path, monkeypatch):
    """Quality of the index comes before that beside the vectors, and the last of two scores counts."""
    monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
    monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    ids, out = ids_of(finished), tmp_path / "out"
    index = pq.read_table(finished / "clips.parquet")
    own = [0.25 if n == 0 else None for n in range(len(ids))]
    for name in COLUMNS:
        index = index.set_column(index.column_names.index(name), name, pa.array(own, pa.float64()))
    (out / "clips").mkdir(parents=True)
    pq.write_table(index, out / "clips.parquet")
    for clip, size in zip(ids, index["num_bytes"].to_pylist(), strict=True):
        (out / "clips" / f"{clip}.mp4").write_bytes(bytes(size))
    (out / "m_embd_parquet").mkdir()
    beside = {"id": ids[:2], **{name: [0.5, 0.75] for name in COLUMNS}}
    pq.write_table(pa.table(beside), out / "m_embd_parquet" / "_quality.parquet")
    (out / "scores").mkdir()
    for cluster, score in ((1, 0.125), (2, None)):
        own = {"id": ids[:1], "max_id": ids[cluster : cluster + 1], "cosine_sim_score": pa.array([score], pa.float32())}
        pq.write_table(pa.table(own), out / "scores" / f"cluster_{cluster}.parquet")
    sources = Sources(Folder(str(out)), None, Folder(str(out / "scores")), None, None, "id", keeps_plain=True)
    chosen = choose(sources, 0, tmp_path)
    assert chosen.rows.num_buckets >= 8
    rows = {row["id"]: row for table in chosen.rows.tables() for row in table.to_pylist()}
    assert rows.keys() == set(ids)
    assert [rows[clip]["sharpness"] for clip in ids[:3]] == [0.25, 0.75, -1.0]
    assert [(rows[clip]["cosine_sim_score"], rows[clip]["max_id"], rows[clip]["cluster"]) for clip in ids[:2]] == [
        (0.0, ids[2], 2), (0.0, "", -1)
    ]  # fmt: skip


def test_a_file_of_the_stage_is_published_from_the_disk(tmp_path):
    state = StageState(Folder(str(tmp_path / "out")), "export")
    for content in (b"first", b"first", b"other"):
        (tmp_path / "local").write_bytes(content)
        state.publish_file("a.parquet", tmp_path / "local")
        assert (tmp_path / "out" / "a.parquet").read_bytes() == content
        noted = state.published()["a.parquet"]
        assert (int(noted), noted.content_hash) == (5, state.folder.content_hash("a.parquet"))
