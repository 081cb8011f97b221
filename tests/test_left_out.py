"""The lines of the summary about tests that were left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.left_out import NO_SHARED, left_out_lines

ROOT = Path(__file__).resolve().parents[1]


def test_one_line_per_need() -> None:
    shared = [f"Skipped: {NO_SHARED}: golden vectors are left out"] * 2
    gpu = [
        "Skipped: no GPU: no NVIDIA driver",
        "needs an NVIDIA GPU and a torch built for it",
        "RAPIDS is not installed",
    ]
    lines = left_out_lines([*shared, *gpu, "Skipped: this machine has a GPU", "limits of the Linux kernel"])
    assert [line.split(" need")[0] for line in lines] == ["left out: 2 tests", "left out: 3 tests"]
    assert left_out_lines(shared[:1])[0].startswith("left out: 1 test needs the shared material")


def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert left_out_lines([]) == left_out_lines(["Skipped: this machine has a GPU"]) == []


def test_summary_of_a_run_counts_them(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    (tmp_path / "test_some.py").write_text(
        f"import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_it(n):\n    pytest.skip('{NO_SHARED}')\n"
    )
    run = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    output = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "left out: 3 tests need the shared material" in output
