"""The charts of the page: inline SVG, each with a table of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curator_dask.report.page import chart_specs, words

Report = Mapping[str, Any]
MISSING = "The charts are left out, as the package vl-convert-python is not installed; the tables below have the same numbers."


def charts(report: Report) -> list[dict[str, Any]]:
    """All charts that the report has numbers for; `svg` is None where the drawing library is missing."""
    wanted = [eps_chart(report), _score_chart(report), *_overlap_charts(report), *_cluster_charts(report)]
    wanted += _quality_charts(report)
    return [{**chart, "svg": draw(chart["spec"]) if chart["spec"] else None} for chart in wanted]


def can_draw() -> bool:
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        return False
    return True


def draw(spec: Mapping[str, Any]) -> str | None:
    """SVG of a Vega-Lite specification: the same text for the same specification."""
    if not can_draw():
        return None
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(spec), vl_version="5.20"))


def _chart(name: str, title: str, text: str, spec: Any, head: Sequence[str], rows: list[Any]) -> dict[str, Any]:
    cells = [row if isinstance(row, dict) else {"cells": row, "chosen": False} for row in rows]
    return {"id": name, "title": title, "text": text, "spec": spec, "table": {"head": head, "rows": cells}}


def eps_chart(report: Report) -> dict[str, Any]:
    """What each eps would keep; `spec` is None where nothing was compared by its score."""
    sweep = report["sweep"]
    rows = [_sweep_row(row, report) for row in sweep]
    text = f"By the rule {report.get('sweep_rule', 'pairwise')}, for each eps."
    head = ("eps", "kept", "removed", "kept %", "video kept", "size kept")
    spec = chart_specs.curve(sweep, report["eps"]) if sweep else None
    return _chart("eps", "What another eps would keep", text, spec, head, rows)


def _sweep_row(row: Mapping[str, Any], report: Report) -> dict[str, Any]:
    share = words.percent(row["kept"], row["kept"] + row["removed"])
    cells = [words.short(row["eps"]), words.number(row["kept"]), words.number(row["removed"]), share]
    cells += [words.duration(row["kept_seconds"]), words.size(row["kept_bytes"])]
    return {"cells": cells, "chosen": row["eps"] == report["eps"]}


def _score_chart(report: Report) -> dict[str, Any]:
    bins, eps = report["scores"], report["eps"]
    line = None if eps is None else 1 - eps
    spec = chart_specs.histogram(bins, x_title="cosine similarity", y_title="clips", mark_at=line)
    text = "The similarity of each clip to the most similar clip that ranks before it. Tall bars at 1 are copies."
    return _chart("scores", "How alike clips are", text, spec, ("from – to", "clips"), _bin_rows(bins))


def _bin_rows(bins: Mapping[str, Sequence[float]]) -> list[list[str]]:
    edges = bins["edges"]
    return [
        [f"{words.short(edges[at])} – {words.short(edges[at + 1])}", words.number(int(number))]
        for at, number in enumerate(bins["counts"])
    ]


def _overlap_charts(report: Report) -> list[dict[str, Any]]:
    texts = {
        "motion": (
            "How alike shared moments move",
            "One number per stretch that two clips share. 1 is the same motion.",
        ),
        "picture": (
            "How alike shared moments look",
            "One number per stretch that two clips share. 1 is the same picture.",
        ),
    }
    overlaps = report["overlaps"] or {}
    return [
        _chart(
            name,
            *texts[name],
            chart_specs.histogram(overlaps[name], x_title="likeness", y_title="shared stretches"),
            ("from – to", "shared stretches"),
            _bin_rows(overlaps[name]),
        )
        for name in texts
        if overlaps.get(name)
    ]


def _quality_charts(report: Report) -> list[dict[str, Any]]:
    """What is in the clips; the dashed line is that of the filter."""
    charts = []
    for name, bins in report.get("quality", {}).items():
        title, text = words.QUALITY[name]
        spec = chart_specs.histogram(bins, x_title=name, y_title="clips", mark_at=bins["limit"])
        text += " The line is where the filter drops clips." if bins["limit"] is not None else ""
        charts.append(_chart(f"quality-{name}", title, text, spec, ("from – to", "clips"), _bin_rows(bins)))
    return charts


def _cluster_charts(report: Report) -> list[dict[str, Any]]:
    clusters = report["clusters"]
    if clusters["number"] < 2:
        return []
    sizes = clusters["sizes"]
    names = [_range(first, stop) for first, stop in zip(sizes["edges"], sizes["edges"][1:], strict=False)]
    number, rows_of_all = words.number(clusters["number"]), words.number(clusters["rows"])
    text = f"{number} clusters of {rows_of_all} clips. Clips are compared within their cluster."
    spec = chart_specs.named_bars(names, sizes["counts"], x_title="clips in a cluster", y_title="clusters")
    rows = [[name, words.number(int(number))] for name, number in zip(names, sizes["counts"], strict=True)]
    return [_chart("clusters", "Sizes of clusters", text, spec, ("clips", "clusters"), rows), _largest(clusters)]


def _range(first: float, stop: float) -> str:
    return f"{first:.0f}" if stop - first <= 1 else f"{first:.0f}–{stop - 1:.0f}"


def _largest(clusters: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        [str(one["cluster"]), words.number(one["rows"]), words.percent(one["share_of_pairs"], 1)]
        for one in clusters["largest"]
    ]
    text = "A giant cluster often holds black frames or end cards, and takes most of the time of the comparison."
    return _chart("largest", "The largest clusters", text, None, ("cluster", "clips", "share of the pairs"), rows)
