"""The single files say what they said before the decisions lay in parts: digests from a run of that version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, IncrementalStage
from curator_dask.data.decisions.read_decisions import decision_batches, decision_columns
from curator_dask.files.buckets import shared
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions import parts as decision_parts
from tests.stages import builders
from tests.stages.identify import test_also_copies as both

RULES: dict[str, dict[str, Any]] = {
    "pairwise": {"tables": "x", "rule": "pairwise", "also": None},
    "greedy": {"tables": "x", "rule": "greedy", "also": None, "hand": True},
    "cross": {"rule": "greedy", "also": None, "scope": "cross"},
    "filters": {"tables": "x", "rule": "greedy", "also": None, "min_motion": 0.2},
    "overlap": {"rule": "overlap", "also": None, "eps": None, "hand": True, "min_motion": 0.2},
    "copies": {"tables": "x", "hand": True},
}
EXPECTED = {
    "pairwise": "2c4445f06d1bc5f7",
    "greedy": "bb2ca612e821b54a",
    "cross": "f1c2a1f5687cebfb",
    "filters": "75e9e69993d42be5",
    "overlap": "24c89fd52d7b7056",
    "copies": "ae3876d692cf3aa8",
    "addition": "7d38f11a558a7702",
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, cluster: Any) -> Path:
    """Rows in crowds, similarity tables within clusters and across, overlaps, a clip index and decisions by hand."""
    root = tmp_path_factory.mktemp("before")

    def write(root: Path, ids: list[str], X: Any) -> Path:
        builders.write_vectors(root / "v2" / "b.parquet", ids[200:], X[200:])
        return builders.write_vectors(root / "v" / "a.parquet", ids[:200], X[:200])

    both.make(root, RunContext(cluster), 3, write)
    names = sorted(f"clip-{number:04d}" for number in range(240))
    clips = [
        {"id": name, "source_video": f"/v/{at // 6}.mp4", "relative_path": f"{at // 6}.mp4", "span_index": at % 6,
         "start_s": 10.0 * (at % 6), "end_s": 10.0 * (at % 6) + 10, "valid": True, "motion_mean": at * 37 % 100 / 100,
         "frozen_share": 0.0, "black_share": 0.0}
        for at, name in enumerate(names)
    ]  # fmt: skip
    builders.write_clip_index(root / "clips", clips)
    lines = [f"{name},{'keep' if at % 2 else 'remove'}," for at, name in enumerate(names[::6])]
    (root / "hand.csv").write_text("\n".join(["id,decision,note", *lines, "nobody,keep,"]) + "\n")
    return root


def digest_of(folder: Path) -> str:
    """Digest of all single files. Scores count to two digits: processors add up in different orders."""
    said: list[Any] = [(folder / name).read_text() for name in ("keep.txt", "remove.txt")]
    for name in ("duplicates.parquet", "groups.parquet"):
        table = pq.read_table(folder / name) if (folder / name).exists() else None
        said.append(
            None if table is None else [table.column_names, str(table.schema.types), rounded(table.to_pylist())]
        )
    said.append([len(line.split(",")) for line in (folder / "duplicates.csv").read_text().splitlines()])
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def rounded(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[round(value, 2) if isinstance(value, float) else value for value in row.values()] for row in rows]


@pytest.mark.parametrize("name", RULES)
def test_files_of_each_rule(scored, context, name):
    given = {"clips_path": str(scored / "clips"), **RULES[name]}
    if given.pop("hand", False):
        given["overrides"] = str(scored / "hand.csv")
    if given.get("rule", "overlap") != "overlap":
        given["overlaps_path"] = None
    both.stage(scored, name, **given).run(context=context)
    assert digest_of(scored / name) == EXPECTED[name]


IN_PARTS = [name for name in RULES if name != "copies"]


@pytest.mark.parametrize("name", IN_PARTS)
def test_files_of_many_parts(scored, context, monkeypatch, name):
    """Each part by workers, with rows that name rows of other parts, and several buckets."""
    monkeypatch.setattr(decision_parts, "PART_ROWS", 20)
    monkeypatch.setattr(shared, "ROWS_OF_SHARED_BUCKET", 50)
    out = scored / f"{name}-in-parts"
    given = {"clips_path": str(scored / "clips"), **RULES[name]}
    if given.pop("hand", False):
        given["overrides"] = str(scored / "hand.csv")
    if given["rule"] != "overlap":
        given["overlaps_path"] = None
    first = both.stage(scored, out.name, **given).run(context=context)
    assert len(list((out / "decisions").iterdir())) > 3
    assert not (out / ".curator" / "identify" / "buckets").exists()
    assert digest_of(out) == EXPECTED[name]
    assert one_row_per_clip(Folder(str(out))) == one_row_per_clip(Folder(str(scored / name)))
    alone = both.stage(scored, f"{name}-again", **given)
    monkeypatch.setattr(decision_parts, "PART_ROWS", 1_000)
    again = alone.run(context=context)
    assert (again.counts, again.warnings) == (first.counts, first.warnings)


def one_row_per_clip(folder: Folder) -> list[list[Any]]:
    batches = decision_batches(folder, decision_columns().names)
    return [row for batch in batches for row in rounded(batch.to_pylist())]


@pytest.mark.parametrize("rule", ["pairwise", "overlap"])
def test_second_run_of_many_parts_starts_nothing(scored, context, monkeypatch, rule):
    monkeypatch.setattr(decision_parts, "PART_ROWS", 20)
    twice = scored / f"twice-{rule}"
    given = {"tables": "x", "also": None, "clips_path": str(scored / "clips"), "rule": rule}
    more = {"eps": None} if rule == "overlap" else {"overlaps_path": None}
    stage = both.stage(scored, twice.name, **given, **more)
    first = stage.run(context=context)
    written = {path: path.stat().st_mtime_ns for path in (twice / "decisions").iterdir()}
    idle = RunContext(LazyCluster())
    second = stage.run(context=idle)
    assert (second.counts, second.warnings, second.num_run) == (first.counts, first.warnings, 0)
    assert idle.cluster._client is None
    (twice / "decisions" / "part-000002.parquet").unlink()
    stage.run(context=context)
    there = {path: path.stat().st_mtime_ns for path in (twice / "decisions").iterdir()}
    assert there.keys() == written.keys()
    assert (
        sum(there[path] != written[path] for path in there) == 2
    )  # that part, and the first, without which there are none


ON_A_STORE: dict[str, dict[str, Any]] = {"greedy": {"eps": both.EPS}, "overlap": {"overlaps_path": "overlaps"}}


@pytest.mark.parametrize("rule", ON_A_STORE)
def test_files_of_many_parts_on_an_object_store(scored, context, monkeypatch, s3, rule):
    monkeypatch.setattr(decision_parts, "PART_ROWS", 60)
    monkeypatch.setattr(shared, "ROWS_OF_SHARED_BUCKET", 100)
    store, options = Folder(f"{s3.url}/in-parts-{rule}", s3.storage_options), {"storage_options": s3.storage_options}
    given = ON_A_STORE[rule]
    paths = {"input_path": "x", "kmeans_path": "k", "output_path": "d", "clips_path": "clips"}
    paths |= {name: value for name, value in given.items() if name.endswith("_path")}
    for name in paths.values():
        for path in (path for path in (scored / name).rglob("*") if path.is_file()):
            store.write_bytes(str(path.relative_to(scored)), path.read_bytes())
    stage = IdentifyDuplicatesStage(
        **{**given, **{key: f"{store.url}/{name}" for key, name in paths.items()}}, rule=rule, read_kwargs=options,
        write_kwargs=options,
    )  # fmt: skip
    assert stage.run(context=context).counts["rows"] == len(one_row_per_clip(store.below("d")))
    beside = f"beside-the-store-{rule}"
    more = {name: str(scored / value) if name.endswith("_path") else value for name, value in given.items()}
    both.stage(scored, beside, "x", **{"rule": rule, "also": None, "overlaps_path": None, "eps": None,
               "clips_path": str(scored / "clips"), **more}).run(context=context)  # fmt: skip
    assert one_row_per_clip(store.below("d")) == one_row_per_clip(Folder(str(scored / beside)))
    assert not store.entries("d/.curator/identify/buckets", hidden=True)


def test_files_of_an_addition(scored, context):
    both.stage(scored, "plain", rule="greedy", also=None, overlaps_path=None).run(context=context)
    paths = [str(scored / name) for name in ("v2", "k", "plain", "added")]
    IncrementalStage(*paths, clips_path=str(scored / "clips")).run(context=context)
    assert digest_of(scored / "added" / "duplicates") == EXPECTED["addition"]
