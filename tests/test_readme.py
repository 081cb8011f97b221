"""The commands and the Python code of the README and of the documentation run, in their order."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curator_dask.runtime.cluster import LazyCluster
from curator_dask.video.samples import TWINS
from tests.running_workers import variables_for
from tests.small_samples import render_small_samples

ROOT = Path(__file__).resolve().parents[1]
# One after the other, as the later pages use what the earlier ones made.
PAGES = ("README.md", *(f"docs/{name}.md" for name in ("tutorial", "choosing", "models", "loaders", "migration")))
SAMPLES = "curator-dask samples videos"
OFFLINE = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}


def blocks(page: str, language: str = "sh|python") -> list[tuple[str, str]]:
    """Pairs of language and text, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```({language})\n(.*?)```", text, flags=re.DOTALL)


def is_at_hand(block: str) -> bool:
    """Whether the loader that the block shows is installed here; wids and Energon are not among the requirements."""
    if block.startswith("energon "):
        return shutil.which("energon") is not None
    return "import wids" not in block or importlib.util.find_spec("wids") is not None


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with short and small versions of four sample videos; the other nine are empty, so `samples` renders nothing."""
    folder = tmp_path_factory.mktemp("readme")
    videos = folder / "videos"
    render_small_samples(videos, num_scenes=2, length_s=3.0)
    names = (*(f"scene_{scene}.mp4" for scene in range(8)), *(f"scene_{t.scene}_{t.name}{t.suffix}" for t in TWINS))
    for name in names:
        (videos / name).touch()
    return folder


def without_empty_videos(command: str) -> str:
    """The command with what takes the empty videos away once `samples` has seen them."""
    return command.replace(SAMPLES, f"{SAMPLES}\nfind videos -size 0 -delete")


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env={**os.environ, "PATH": path, **variables}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def transcript(
    workplace: Path, cluster: LazyCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """The result of each block of commands and of Python, in their order. A command that stands on two pages runs once.

    Commands use workers that run already, because starting workers takes most of the time; Python starts its own.
    """
    workers = variables_for(cluster, tmp_path_factory.mktemp("keys"))
    done: dict[str, subprocess.CompletedProcess[str]] = {}
    for number, (language, block) in enumerate(block for page in PAGES for block in blocks(page)):
        before = {line for one in done for line in one.splitlines()}
        if language == "python":
            (workplace / f"block_{number}.py").write_text(block)
            block, command, variables = block, f"python block_{number}.py", {"HF_HOME": f"{workplace}/hf", **OFFLINE}
        else:
            command = "\n".join(line for line in block.splitlines() if line not in before)
            variables = workers
        if command and not command.startswith("make ") and is_at_hand(block):
            done[block] = shell(without_empty_videos(command), workplace, **variables)
    return done


@pytest.mark.timeout(1800)
def test_commands_and_python_in_their_order(transcript, workplace: Path) -> None:
    assert len(transcript) >= 13
    for block, done in transcript.items():
        assert done.returncode == 0, (block, done.stdout, done.stderr[-3000:])
    assert not (workplace / "out2").exists()


def test_what_the_loaders_print(transcript) -> None:
    """The 2 clips that were kept, once each, by every loader that is installed."""
    shown = {name: done.stdout for block, done in transcript.items() for name in ("torch", "datasets", "wids")
             if f"\nimport {name}\n" in f"\n{block}"}  # fmt: skip
    assert len(shown["torch"].splitlines()) == len(shown["datasets"].splitlines()) == 2
    assert shown.get("wids", "2 ").startswith("2 ")


@pytest.mark.timeout(900)
def test_the_run_ends_as_promised(transcript) -> None:
    """The videos are short here, one clip each; test_workflow checks the totals that the README shows."""
    (shown,) = [done.stdout for block, done in transcript.items() if "curator-dask run --video-dir videos" in block
                and "verify" in block]  # fmt: skip
    assert "4 clips = 2 kept + 2 removed + 0 failed" in shown
    assert "report/index.html to see which clips were removed and why" in shown


def test_make_demo_runs_here(tmp_path: Path, few_videos: Path, cluster: LazyCluster) -> None:
    """In the environment of this test run, which stays as it is, instead of a new one; on workers that run already."""
    venv = Path(sys.prefix)
    if not (venv / ".installed").exists():
        pytest.skip("the tests were not started by `make test`, so `make demo` would set up an environment first")
    done = subprocess.run(
        ["make", "-C", str(ROOT), "demo", f"--old-file={venv / '.installed'}", f"VENV={venv}", f"VIDEO_DIR={few_videos}",
         f"DEMO_OUT={tmp_path / 'out'}"],
        env={**os.environ, **variables_for(cluster, tmp_path)}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 clips = 2 kept + 2 removed + 0 failed" in done.stdout


def test_the_list_of_benchmarks_is_complete() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    start = 'if __name__ == "__main__"'
    programs = [path for path in (ROOT / "benchmarks").rglob("*.py") if start in path.read_text(encoding="utf-8")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in programs}
    started_by_others = {"benchmarks.faults.flaky_store", "benchmarks.faults.lines.soak", "benchmarks.forty_lines"}
    names -= started_by_others
    commands = set(re.findall(r"python -m (benchmarks[.\w]+)", listed))
    assert commands == names


def test_make_commands_exist() -> None:
    for _, block in (block for page in PAGES for block in blocks(page, "sh")):
        if block.startswith("make "):
            plan = subprocess.run(
                ["make", "-n", *block.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert plan.returncode == 0, plan.stderr
