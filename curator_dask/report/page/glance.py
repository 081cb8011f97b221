"""A glance at a report for a cell of a notebook: the totals, the curve of eps, and some clips beside their kept ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from curator_dask.files.folder import Folder
from curator_dask.report.page import summary, words
from curator_dask.report.page.charts import draw, eps_chart
from curator_dask.report.page.page_html import asset
from curator_dask.report.page.previews import EmbeddedPreviews
from curator_dask.report.page.safe_text import template

MOST_PAIRS: Final = 3
Report = Mapping[str, Any]


def glance_html(report: Report, folder: Folder) -> str:
    """HTML that needs no file beside it: pictures are inside. `folder` is that of the report; texts are escaped."""
    from markupsafe import Markup

    chart = eps_chart(report)
    svg = draw(chart["spec"]) if chart["spec"] else None
    text: str = template(asset("glance.html")).render(
        colours=Markup(_light_colours()),  # noqa: S704
        totals=summary.totals_parts(report),
        rule_text=summary.rule_text(report),
        chart=chart,
        svg=Markup(svg) if svg else None,  # noqa: S704
        pairs=list(_pairs(report, EmbeddedPreviews(folder))),
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # a notebook cannot hold names that are no text


def _light_colours() -> str:
    """The light colours of the page. Cells of a notebook do not tell whether they are dark, so a glance brings its own paper."""
    found = re.search(r":root \{(.*?)\}", asset("style.css"), re.DOTALL)
    return found[1] if found else ""


def _pairs(report: Report, previews: EmbeddedPreviews) -> Iterator[dict[str, Any]]:
    """The first removed clip of each group below its kept clip, those with pictures first."""
    pairs = [group["removed"][0] for group in report["groups"] if group["removed"]]
    clips = report["clips"]
    for pair in sorted(pairs, key=lambda pair: not _has_pictures(pair, clips))[:MOST_PAIRS]:
        sides = (("kept", pair["kept_id"]), ("removed", pair["id"]))
        yield {"why": _why(pair), "clips": [_clip(state, clips[name], previews) for state, name in sides]}


def _has_pictures(pair: Report, clips: Report) -> bool:
    return all(clips[pair[name]]["preview"] for name in ("kept_id", "id"))


def _clip(state: str, clip: Report, previews: EmbeddedPreviews) -> dict[str, Any]:
    return {
        "state": state,
        "source": clip["source"],
        "span": words.span(clip["start_s"], clip["end_s"]),
        "preview": previews.url(clip["preview"]) if clip["preview"] else None,
    }


def _why(pair: Report) -> str:
    parts = [words.KINDS.get(pair["kind"], pair["kind"]) if pair["kind"] else ""]
    if pair["cover"] is not None:
        parts.append(f"kept clips show {words.percent(pair['cover'], 1)} of it")
    if pair["score"] is not None:
        parts.append(f"similarity of vectors {words.short(pair['score'])}")
    return " · ".join(filter(None, parts))
