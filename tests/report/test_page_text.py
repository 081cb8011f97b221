"""The page as text: what is escaped, what it may load, and that the same report gives the same bytes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from curator_dask.files.folder import Folder
from curator_dask.report.page import chart_specs
from curator_dask.report.page.charts import draw
from curator_dask.report.page.page_html import asset
from curator_dask.report.page.safe_text import relative_url, script_json
from curator_dask.report.page.summary import totals_parts
from curator_dask.report.page.write import write_page
from tests.report.sample_report import HOSTILE, sample_report


def page_of(folder: Path, report: dict[str, Any], *, embed_previews: bool = True) -> str:
    write_page(report, Folder(str(folder)), embed_previews=embed_previews)
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "\u2028\u2029", "&amp;", HOSTILE, "\ud800"])
def test_json_in_a_script_cannot_end_it(text: str) -> None:
    written = script_json({"name": text})
    assert written.isascii()
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"name": text}


@pytest.mark.parametrize("name", [HOSTILE.replace("/", ""), "javascript:alert(1)", "a\nb", "100%", "ä b", "\udcff"])
def test_url_leads_to_the_file(name: str) -> None:
    url = relative_url(f"../clips/{name}")
    assert url is not None
    assert re.fullmatch(r"\.\./clips/[A-Za-z0-9._~%-]+", url)
    assert unquote(url, errors="surrogatepass") == f"../clips/{name}"


@pytest.mark.parametrize("path", [None, "", "/etc/passwd", "s3://bucket/a.mp4", "javascript://a"])
def test_path_that_is_not_beside_the_page_has_no_url(path: str | None) -> None:
    assert relative_url(path) is None


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    page = page_of(tmp_path, sample_report())
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>")
    assert HOSTILE not in page


def test_policy_allows_no_network(tmp_path: Path) -> None:
    page = page_of(tmp_path, sample_report())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy[1].replace("&#39;", "'").split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert not [source for sources in rules.values() for source in sources if "http" in source or "*" in source]
    assert not [source for sources in rules.values() for source in sources if "unsafe" in source]
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
    assert " style=" not in page, "the policy forbids inline styles"


def test_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        page_of(tmp_path / name, sample_report(12), embed_previews=False)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert [str(path) for path in files] == [
        f"data/{name}.js" for name in ("borderline", "groups-0", "groups-1", "sources-0", "sources-1")
    ] + ["index.html"]
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_smaller_report_leaves_no_data_of_a_larger_one(tmp_path: Path) -> None:
    page_of(tmp_path, sample_report(12), embed_previews=False)
    page_of(tmp_path, sample_report(2))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_without_the_drawing_library_there_are_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    page = page_of(tmp_path, sample_report())
    assert "vl-convert-python is not installed" in page
    assert page.count("<details open>") >= 5
    assert '<div class="chart">' not in page


def test_bars_of_a_histogram_stand_for_its_counts() -> None:
    bins = {"edges": [0.0, 0.5, 1.0], "counts": [2, 5]}
    svg = draw(chart_specs.histogram(bins, x_title="likeness", y_title="clips"))
    assert svg is not None
    assert [int(found) for found in re.findall(r'aria-label="[^"]*clips: (\d+)"', svg)] == [2, 5]


def test_totals_are_cut_into_states() -> None:
    line = "1,234 clips = 1,200 kept + 34 removed + 0 failed"
    parts = totals_parts({"totals": {"line": line}})
    assert "".join(part["text"] for part in parts) == line
    assert [part["text"] for part in parts if part["state"]] == ["1,200 kept", "34 removed", "0 failed"]


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("at", [0, 1], ids=["light", "dark"])
def test_text_is_readable_on_its_ground(at: int) -> None:
    """WCAG 2 AA asks for 4.5."""
    blocks = re.findall(r"\{([^{}]*--page:[^{}]*)\}", asset("style.css"))
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[at]))
    assert len(blocks) == 3
    assert re.sub(r"\s+", " ", blocks[1]).strip() in re.sub(r"\s+", " ", blocks[2])
    pairs = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("page", "card", "raised")]
    states = ("kept", "removed", "plain", "failed")
    pairs += [(state, ground) for state in states for ground in (f"{state}-wash", "card", "page")]
    pairs += [("ink", "failed-wash"), ("ink", "accent-wash"), ("on-strong", "accent")]
    low = {pair: round(_contrast(*(colours[name] for name in pair)), 2) for pair in pairs}
    assert not {pair: value for pair, value in low.items() if value < 4.5}
