"""Commands on a folder that is not there, is empty, is a file, is another stage's output or is damaged say what to do."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curator_dask.cli.app import app
from curator_dask.errors import CuratorError
from curator_dask.runtime import cluster as cluster_module
from curator_dask.stages.base import RunContext
from tests.dedup.reference import random_unit
from tests.stages import builders

REMEDY = re.compile(r"give |run |take it out|mark |--repair|name another|check ", re.IGNORECASE)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "verify": ("verify X", "old", "k"),
    "review": ("review X", "k", "d"),
    "inspect": ("inspect X", "p", "d"),
    "similar": ("similar X 3", "d", "old"),
    "prune": ("prune X", "old", "old"),
    "export": ("export --input-path X --output-path OUT --all-clips", "k", "clips"),
    "export decisions": ("export --input-path ROOT/clips --duplicates-path X --output-path OUT", "k", "d"),
    "identify": ("identify --input-path X --kmeans-path ROOT/k --output-path OUT", "d", "p"),
    "identify clusters": ("identify --input-path ROOT/p --kmeans-path X --output-path OUT", "p", "k"),
    "dedup-new": ("dedup-new --input-path ROOT/old --kmeans-path X --duplicates-path ROOT/d --output-path OUT", "p", "k"),
    "dedup-new decisions": (
        "dedup-new --input-path ROOT/new --kmeans-path ROOT/k --duplicates-path X --output-path OUT", "p", "d"
    ),
    "sample": ("sample ROOT --size 1 --duplicates-path ROOT/d --kmeans-path X --output-path OUT", "p", "k"),
    "align": ("align --input-path X --output-path OUT", "k", "old"),
}  # fmt: skip
"""Name → the command, a folder of another kind, and the right folder, which is damaged for the test."""


@pytest.fixture(scope="module")
def root(tmp_path_factory, cluster) -> Path:
    root = tmp_path_factory.mktemp("wrong")
    X = random_unit(60, 5, 0, copies=0.5, noise=0.02)
    builders.write_vectors(root / "old" / "a.parquet", range(40), X[:40])
    builders.write_vectors(root / "new" / "a.parquet", range(40, 60), X[40:])
    builders.score_vectors(root / "old", root, RunContext(cluster), 2)
    builders.identify_duplicates(root, RunContext(cluster), eps=0.05)
    builders.write_clip_index(root / "clips", [{"id": "a", "source_video": "v", "valid": True}])
    (root / "empty").mkdir()
    (root / "file").write_text("hello")
    return root


def cut_short(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    for path in to.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:60])
    return to


@pytest.mark.parametrize("name", COMMANDS)
def test_each_says_which_folder_and_what_to_do(root, cluster, monkeypatch, tmp_path, name):
    monkeypatch.setattr(cluster_module, "dask_client", lambda *_: contextlib.nullcontext(cluster.client))
    command, other, right = COMMANDS[name]
    damaged = cut_short(root / right, tmp_path / "damaged")
    for path in (root / "nowhere", root / "empty", root / "file", root / other, damaged):
        words = {"X": str(path), "OUT": str(tmp_path / "out")}
        arguments = [words.get(word, word.replace("ROOT", str(root))) for word in command.split()]
        done = CliRunner().invoke(app, arguments)
        said = done.stdout + done.stderr
        assert done.exit_code in (1, 2), (arguments, said)
        assert done.exception is None or isinstance(done.exception, SystemExit | CuratorError), arguments
        assert str(path) in said.replace("\n", "") or "part-0.parquet: has 60 bytes" in said, (arguments, said)
        assert REMEDY.search(said), (arguments, said)
        for word in ("Traceback", "IndexError", "Errno", "weights_only"):
            assert word not in said, (arguments, said)
