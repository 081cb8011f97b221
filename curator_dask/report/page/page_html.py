"""The page as HTML: the template, filled, with its style and script inside and a policy that forbids the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from curator_dask.report.page import summary, words
from curator_dask.report.page.charts import MISSING, can_draw, charts
from curator_dask.report.page.safe_text import script_json, template

SCRIPTS: Final = ("dom", "data", "rows", "player", "lists", "sources", "review", "main")


def page_html(report: Mapping[str, Any], blocks: Mapping[str, Any], *, review: bool = False) -> str:
    """The page with its blocks of data. Texts of the report are escaped; only charts are taken as they are.

    For a `review` it has buttons that decide, and may speak with the server that it comes from.
    """
    from markupsafe import Markup

    style, script = asset("style.css"), page_script(review)
    drawn = [{**chart, "svg": Markup(chart["svg"]) if chart["svg"] else None} for chart in charts(report)]  # noqa: S704
    return str(
        template(asset("page.html")).render(
            report=report,
            policy=content_policy(style, script, review=review),
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            blocks=[{"name": name, "json": Markup(script_json(block))} for name, block in blocks.items()],  # noqa: S704
            charts=drawn,
            charts_missing=None if can_draw() else MISSING,
            **_texts(report),
        )
    )


def _texts(report: Mapping[str, Any]) -> dict[str, Any]:
    left_out = report.get("sources_left_out", 0)
    kinds = sorted({pair["kind"] for group in report["groups"] for pair in group["removed"] if pair["kind"]})
    return {
        "totals": summary.totals_parts(report),
        "shares": summary.shares(report),
        "tiles": summary.tiles(report),
        "why": summary.why(report),
        "dropped": summary.dropped(report),
        "rule_text": summary.rule_text(report),
        "limit_text": summary.limit_text(report),
        "kinds": [{"key": kind, "name": words.KINDS.get(kind, kind)} for kind in kinds],
        "sources_text": f"{words.number(left_out)} more videos are not listed." if left_out else "",
    }


@cache
def asset(name: str) -> str:
    """The text of a file of the page."""
    return resources.files("curator_dask.report.page").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def page_script(review: bool = False) -> str:
    """The scripts of the page as one, each after those that it uses, and no name of them in the window."""
    names = [f"{name}_buttons" if review and name == "review" else name for name in SCRIPTS]
    parts = "\n".join(asset(f"{name}.js") for name in names)
    return f"(() => {{\n'use strict';\n{parts}}})();\n"


def content_policy(style: str, script: str, *, review: bool = False) -> str:
    """What the page may load: its own style and script, and clips, previews and data beside it. Nothing else at all.

    ``file:`` stands there because not every browser counts the neighbours of a page from a disk as its own.
    """
    own = "'self'" if review else "'self' file:"
    spoken_with = "'self'" if review else "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own} '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            f"img-src {own} data:",
            f"media-src {own}",
            f"connect-src {spoken_with}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
