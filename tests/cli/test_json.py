"""``--json`` prints one document and ``--quiet`` nothing; both leave stderr to errors, warnings and failures."""

from __future__ import annotations

import json
import math

import pytest

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
