"""The commands `identify`, `pairwise --keep` and `dedup-new`: their flags and their reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.stages.base import RunContext
from tests.cli.test_cli import cli
from tests.dedup.reference import random_unit
from tests.running_workers import variables_for
from tests.stages import builders


@pytest.fixture(scope="module", autouse=True)
def running_workers(tmp_path_factory, cluster) -> Iterator[None]:
    """The commands use workers that run already, but for one that starts its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables_for(cluster, tmp_path_factory.mktemp("keys")).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory, cluster) -> Path:
    """The k-means and pairwise output of 60 rows, and 20 further rows for `dedup-new`."""
    root = tmp_path_factory.mktemp("scored")
    X = random_unit(80, 5, 0, copies=0.5, noise=0.02)
    for name, rows in (("old", np.arange(60)), ("new", np.arange(60, 80))):
        builders.write_vectors(root / name / "a.parquet", rows, X[rows], video=[f"v{row % 3}" for row in rows])
    return builders.score_vectors(root / "old", root, RunContext(cluster), 2, kmeans={"metadata_fields": ["video"]})


def identify(root: Path, out: Path, *more: object):
    return cli("identify", "--input-path", root / "p", "--kmeans-path", root / "k", "--output-path", out, *more)


def test_a_wanted_share_by_the_greedy_rule_with_its_recall(scored, tmp_path):
    done = identify(scored, tmp_path, "--target-keep", 0.7, "--rule", "greedy", "--recall-sample", 30)
    assert done.returncode == 0, done.stderr
    kept = len((tmp_path / "keep.txt").read_text().split())
    assert kept >= 42
    said = done.stdout
    assert f"{kept} of 60 rows kept ({kept / 60:.1%})" in said
    assert "duplicate pairs of 30 sampled rows were found" in said
    assert "orphans" not in said


def test_decisions_and_a_sweep_as_documents(scored, tmp_path):
    decided = json.loads(identify(scored, tmp_path, "--eps", 0.1, "--json").stdout)
    (stage,) = decided["stages"]
    assert decided["decided_by"] == "eps 0.1"
    assert stage["counts"]["kept"] == len((tmp_path / "keep.txt").read_text().split())
    (line,) = json.loads(identify(scored, tmp_path / "none", "--sweep", 0.1, "--json").stdout)["sweep"]
    assert line == {"eps": 0.1, "kept": stage["counts"]["kept"], "removed": stage["counts"]["removed"]}


def test_a_scope(scored, tmp_path):
    done = identify(scored, tmp_path, "--eps", 0.01, "--scope", "cross", "--source-field", "video")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "scores" / "cluster_0.parquet").column_names == ["id", "max_id", "cosine_sim_score"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--eps", 0.1, "--target-keep", 0.5), "exclude each other"),
        (("--scope", "cross"), "needs the sources of rows"),
        (("--rule", "best"), "rule must be one of"),
    ],
    ids=str,
)
def test_flags_that_do_not_fit(scored, tmp_path, flags, message):
    done = identify(scored, tmp_path, *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_to_keep_in_words(scored, tmp_path):
    done = cli("pairwise", "--input-path", scored / "k", "--output-path", tmp_path, "--keep", "video:desc,id:asc",
               "--n-workers", 1, env={"CURATOR_DASK_SCHEDULER_ADDRESS": ""})  # fmt: skip
    assert done.returncode == 0, done.stderr
    ids = pq.read_table(tmp_path / "cluster_0.parquet")["id"].to_pylist()
    assert ids == sorted(ids, key=lambda one: (-(one % 3), one))
    wrong = cli("pairwise", "--input-path", scored / "k", "--output-path", tmp_path, "--keep", "sharpest")
    assert (wrong.returncode, "'sharpest' is none of largest" in wrong.stderr) == (2, True)


def test_a_sweep_needs_the_scores_alone(scored, tmp_path):
    done = cli("identify", "--input-path", scored / "p", "--sweep", ".1,.01")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [eps for eps, *_ in lines] == ["0.01", "0.1"]
    assert all(int(kept) + int(removed) == 60 for _, kept, removed, _ in lines)
    done = cli("identify", "--input-path", scored / "p", "--eps", ".1")
    assert (done.returncode, done.stderr) == (2, "curator-dask: kmeans_path is missing: give a folder or a URL\n")


def test_new_vectors(scored, tmp_path):
    assert identify(scored, tmp_path / "d", "--eps", 0.01).returncode == 0
    done = cli("dedup-new", "--input-path", scored / "new", "--kmeans-path", scored / "k",
               "--duplicates-path", tmp_path / "d", "--output-path", tmp_path / "n")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lists = [(tmp_path / "n" / "duplicates" / name).read_text().split() for name in ("keep.txt", "remove.txt")]
    assert sorted(map(int, [*lists[0], *lists[1]])) == list(range(60, 80))
    assert f"eps 0.01 (a similarity of 0.99 or more): {len(lists[0])} of 20 rows kept" in done.stdout


def test_the_rule_that_follows_overlaps(scored, tmp_path):
    clips = {
        "id": list(range(60)),
        "source": [f"v{row % 3}" for row in range(60)],
        "start_s": [0.0] * 60,
        "end_s": [9.0] * 60,
    }
    numbers = {"start_s": 0.0, "end_s": 9.0, "other_start_s": 0.0, "other_end_s": 9.0, "offset_s": 0.0,
               "picture": 0.9, "motion": 0.9, "energy": 0.2}  # fmt: skip
    rows = [{"id": row, "other_id": row - 3, **numbers, "kind": "copy"} for row in range(3, 60, 3)]
    (tmp_path / "o").mkdir()
    pq.write_table(pa.table(clips), tmp_path / "o" / "clips.parquet")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "o" / "overlaps.parquet")
    done = identify(scored, tmp_path / "d", "--rule", "overlap", "--overlaps-path", tmp_path / "o", "--min-cover", 0.9)
    assert done.returncode == 0, done.stderr
    assert "cover 0.9: 50 of 60 rows kept" in done.stdout
    assert "warning" not in done.stderr
    assert identify(scored, tmp_path / "e", "--rule", "overlap").returncode == 2
