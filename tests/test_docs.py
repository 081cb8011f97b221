"""The documentation: links lead somewhere, commands and options exist, pages made from the code are up to date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tools.reference_pages import all_commands, pages

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"])
WRITTEN = [page for page in PAGES if page.name not in {*pages(), "CHANGELOG.md"}]
# Options of other programs that the pages speak of.
FOREIGN = {
    "pip": {"--index-url", "--pip-args"},
    "dask": {
        "--rmm-async", "--rmm-release-threshold", "--set-rmm-allocator-for-libs", "--enable-cudf-spill", "--pre-import",
        "--death-timeout",
    },
    "energon": {"--non-interactive", "--split-ratio", "--split-parts", "--sample-type"},
    "docs": {"--strict"},
    "the original, not taken here": {
        "--motion-global-mean-threshold", "--motion-per-patch-min-256-threshold", "--motion-decode-target-fps",
        "--motion-score-batch-size", "--motion-score-gpus-per-worker",
    },
    "every command": {"--help", "--help-all", "--install-completion", "--version"},
}  # fmt: skip


def prose(page: Path) -> str:
    """The text without blocks of code, in which brackets mean something else."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that headings get: those of GitHub and of MkDocs, which differ in what becomes of other signs."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading"


def test_the_pages_are_those_of_the_contents() -> None:
    """Links within docs/ stay there, as the site holds nothing else."""
    contents = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert set(re.findall(r"[\w]+\.md", contents)) == {page.name for page in DOCS.glob("*.md")}
    assert [page.name for page in DOCS.glob("*.md") if "](../" in prose(page)] == []


@cache
def options() -> dict[str, set[str]]:
    """The options of each command."""
    return {
        name: {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        for name, command in all_commands()
    }


def commands_shown(text: str) -> Iterator[tuple[str, str]]:
    """Each ``curator-dask …`` in code: the command, and what follows on the line."""
    for code in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, flags=re.DOTALL):
        for line in "".join(code).splitlines():
            found = re.match(r"(?:\S*/)?curator-dask (models )?([a-z][\w-]*)(.*)", line.strip())
            if found:
                yield (found[1] or "") + found[2], found[3]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_their_options_exist(page: Path) -> None:
    known = options()
    everywhere = set().union(*known.values(), *FOREIGN.values())
    text = page.read_text(encoding="utf-8")
    for command, rest in commands_shown(text):
        assert command in known, f"curator-dask {command}"
        unknown = set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest)) - known[command] - FOREIGN["every command"]
        assert not unknown, f"curator-dask {command}{rest}"
    if page.parent == DOCS or (page.name == "README.md" and page.parent == ROOT):
        shown = {
            flag for code in re.findall(r"`([^`\n]+)`", text) for flag in re.findall(r"(?<!\S)--[a-z][\w-]*", code)
        }
        assert shown - everywhere == set()


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("MkDocs Material is not installed: `make docs` installs it and builds the site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    html = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "site").glob("*.html"))
    assert "fonts.googleapis.com" not in html
