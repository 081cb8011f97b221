"""``--json`` prints one document and ``--quiet`` nothing; both leave stderr to errors, warnings and failures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curator_dask import KMeansStage
from curator_dask.cli.app import app
from curator_dask.cli.output.documents import print_document
from tests.cli.test_cli import cli


def test_a_plan_is_one_document(few_videos, tmp_path):
    done = cli("run", "--video-dir", few_videos, "--output-path", tmp_path / "out", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    split = plan["stages"][0]
    assert (plan["dry_run"], plan["totals"], split["stage"]) == (True, None, "split")
    assert (split["counts"]["clips_planned"], split["num_failures"]) == (4, 0)
    assert plan["failures"]["number"] == 0


def test_documents_and_silence_of_steps(few_videos, tmp_path):
    """Failures are told on stderr, and counted in the document."""
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").symlink_to(next(iter(sorted(few_videos.glob("*.mp4")))))
    (videos / "broken.mp4").write_bytes(b"no video")
    command = ("split", "--video-dir", videos, "--output-path", tmp_path / "out", "--no-generate-embeddings",
               "--follow-links")  # fmt: skip
    first = cli(*command, "--quiet")
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert first.stderr.startswith("1 failure")
    assert "dashboard" not in first.stderr
    again = json.loads(cli(*command, "--json", "--quiet").stdout)
    assert again["failures"]["number"] == sum(again["failures"]["reasons"].values()) == 1
    (split,) = again["stages"]
    assert (split["units_done_now"], split["units_from_before"]) == (0, 2)


def test_an_error_prints_no_document(tmp_path):
    done = cli("split", "--video-dir", "missing", "--output-path", tmp_path / "out", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("curator-dask: ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_share_of_nothing_is_null(value, capsys):
    print_document({"shares": ({"recall": value}, 1.5)})
    assert json.loads(capsys.readouterr().out) == {"shares": [{"recall": None}, 1.5]}


def document(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    """The one document that a command prints."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def out(tmp_path_factory, cluster) -> Path:
    """Three clips with vectors, clustered, and nothing else."""
    root = tmp_path_factory.mktemp("json")
    (root / "vectors").mkdir()
    X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    pq.write_table(pa.table({"id": ["a", "b", "c"], "embedding": X}), root / "vectors" / "part-0.parquet")
    KMeansStage(1, input_path=str(root / "vectors"), output_path=str(root / "out" / "kmeans")).run(cluster.client)
    return root / "out"


class TestTools:
    """Commands that run no stage: a document with the same numbers as their text."""

    def test_verify(self, out):
        found = document("verify", out)
        assert (found["checked"], found["faults"]) == ("contents", {"number": 0, "list": []})
        assert found["counts"]["stages"] == 1
        assert found["counts"]["files"] == sum(path.is_file() for path in out.rglob("*"))
        (out / "kmeans" / "extra.bin").write_bytes(b"x")
        found = document("verify", out, "--quick", exit_code=1)
        (out / "kmeans" / "extra.bin").unlink()
        assert found["checked"] == "sizes"
        (fault,) = found["faults"]["list"]
        assert (fault["path"], fault["kind"]) == ("kmeans/extra.bin", "extra")

    def test_similar(self, out):
        found = document("similar", out, "a", "--top", 1)
        assert (found["path"], found["clip"]) == (str(out), "a")
        (first,) = found["similar"]
        assert first == {"id": "b", "cosine": pytest.approx(0.9 / math.hypot(0.9, 0.1))}

    def test_models(self):
        found = document("models", "list")
        assert "pdqf_tmk_nobars" in found["models"]
        assert found["others"][0] == "hf:FOLDER"

    def test_plan_can_be_read_again(self, tmp_path):
        found = document("plan", "--clips", "1e8", "--cores", 64, "--within-hours", 1000)
        assert [one["stage"] for one in found["stages"]][:3] == ["split", "embed", "kmeans"]
        assert found["size"]["clips"] == 1e8
        assert found["cores_needed"] > 64
        assert found["warnings"]
        (tmp_path / "rates.json").write_text(json.dumps(found))
        again = document("plan", "--clips", "1e8", "--cores", 64, "--rates", tmp_path / "rates.json")
        assert again["wall_hours"] == found["wall_hours"]

    def test_doctor(self):
        found = document("doctor")
        assert found["usable"] is all(finding["level"] != "fault" for finding in found["findings"])
        assert {"level", "topic", "text"} == set(found["findings"][0])
