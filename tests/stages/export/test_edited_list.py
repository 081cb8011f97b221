"""``keep.txt`` changed by hand: what it names is kept, although the parts of the decisions say otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import ExportStage, SampleStage
from curator_dask.data.decisions.read_decisions import decision_batches, decision_parts
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext
from tests.dedup.reference import random_unit
from tests.stages import builders


@pytest.fixture(scope="module")
def decided(tmp_path_factory, cluster) -> Path:
    root = tmp_path_factory.mktemp("edited") / "out"
    ids = [f"clip-{at:03}" for at in range(60)]
    builders.write_vectors(root / "v" / "a.parquet", ids, random_unit(60, 4, 1, copies=0.5, noise=0.01))
    builders.score_vectors(root / "v", root, RunContext(cluster), 3)
    builders.identify_duplicates(root, RunContext(cluster), eps=0.01)
    builders.write_clip_index(
        root,
        [
            {"id": one, "source_video": "v", "valid": True, "num_bytes": len(one), "clip_path": f"clips/{one}.mp4"}
            for one in ids
        ],
    )
    for one in ids:
        path = root / "clips" / f"{one}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one.encode())
    return root


@pytest.fixture
def edited(decided, tmp_path) -> tuple[Path, list[str]]:
    """An output whose first kept clip and first removed clip changed places in ``keep.txt``, and the new list."""
    shutil.copytree(decided, tmp_path / "out")
    folder = tmp_path / "out" / "d"
    kept, removed = ((folder / name).read_text().splitlines() for name in ("keep.txt", "remove.txt"))
    now = sorted([*kept[1:], removed[0]])
    (folder / "keep.txt").write_text("".join(f"{one}\n" for one in now))
    return tmp_path / "out", now


def exported(out: Path, to: Path, cluster) -> list[str]:
    stage = ExportStage(str(out), str(to), duplicates_path=str(out / "d"), format="parquet")
    stage.run(context=RunContext(cluster))
    return sorted(pq.read_table(to / "index.parquet")["id"].to_pylist())


def test_export_follows_the_list(decided, edited, cluster, tmp_path):
    out, now = edited
    before = (decided / "d" / "keep.txt").read_text().splitlines()
    assert exported(decided, tmp_path / "before", cluster) == before != now
    assert exported(out, tmp_path / "after", cluster) == now


def test_each_clip_has_one_decision(decided, edited):
    out, now = edited
    folder = Folder(str(out / "d"))
    rows = pa.concat_tables(decision_batches(folder, ["id", "removed"])).to_pylist()
    assert sorted(row["id"] for row in rows if not row["removed"]) == now
    assert len({row["id"] for row in rows}) == len(rows)
    assert decision_parts(Folder(str(decided / "d")))
    assert not decision_parts(folder)


def test_a_folder_without_lists_has_its_parts(decided, tmp_path):
    shutil.copytree(decided / "d", tmp_path / "d")
    (tmp_path / "d" / "keep.txt").unlink()
    assert decision_parts(Folder(str(tmp_path / "d")))


def test_clusters_of_kmeans_and_of_decisions_give_one_sample(decided, context, tmp_path):
    found = []
    for name, kmeans in (("by decisions", None), ("by kmeans", str(decided / "k"))):
        to = tmp_path / name
        paths = {"duplicates_path": str(decided / "d"), "kmeans_path": kmeans, "output_path": str(to)}
        SampleStage(str(decided), 12, **paths).run(context=context)
        found.append((to / "keep.txt").read_bytes())
    assert found[0] == found[1]
