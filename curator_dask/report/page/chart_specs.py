"""The charts of the page as Vega-Lite specifications. Colours are names of the page, so that they follow dark and light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Spec = dict[str, Any]
KEPT: Final = "var(--kept)"
ACCENT: Final = "var(--accent)"
REMOVED: Final = "var(--removed)"
_SOFT: Final = "var(--soft)"
CONFIG: Final[Spec] = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _SOFT,
        "titleColor": _SOFT,
        "gridColor": "var(--line)",
        "domainColor": "var(--line-strong)",
        "tickColor": "var(--line-strong)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
}
_SIZE: Final = {"width": 400, "height": 190}


def curve(rows: Sequence[Mapping[str, Any]], eps: float | None) -> Spec:
    """How many clips each eps would keep; `rows` have eps and kept."""
    lines: list[Spec] = [
        {
            "mark": {"type": "area", "color": KEPT, "opacity": 0.14, "line": False, "interpolate": "step-after"},
            "data": {"values": [{"eps": row["eps"], "kept": row["kept"]} for row in rows]},
            "encoding": _curve_axes(),
        },
        {
            "mark": {"type": "line", "color": KEPT, "strokeWidth": 2.5, "interpolate": "step-after"},
            "data": {"values": [{"eps": row["eps"], "kept": row["kept"]} for row in rows]},
            "encoding": _curve_axes(),
        },
    ]
    return _spec([*lines, *_rule_at(eps, "eps")])


def _curve_axes() -> Spec:
    eps = {"field": "eps", "type": "quantitative", "scale": {"type": "log", "nice": False}, "title": "eps"}
    ticks = {"values": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.65], "format": "~g", "grid": False}
    kept = {"field": "kept", "type": "quantitative", "title": "clips kept", "axis": _COUNT_AXIS}
    return {"x": {**eps, "axis": ticks}, "y": kept}


_COUNT_AXIS: Final = {"tickCount": 5, "format": "~s", "tickMinStep": 1}


def histogram(bins: Mapping[str, Sequence[float]], *, x_title: str, y_title: str, mark_at: float | None = None) -> Spec:
    """A histogram with a logarithmic count axis that begins at 0; `bins` has edges and counts."""
    edges, counts = bins["edges"], bins["counts"]
    values = [{"from": edges[at], "to": edges[at + 1], "count": number} for at, number in enumerate(counts)]
    # The labels of more ticks would touch in small charts.
    ticks = {"grid": False, "tickCount": 5, "format": "~g", "labelFlush": False}
    x = {"field": "from", "type": "quantitative", "title": x_title, "axis": ticks}
    x["scale"] = {"zero": False, "nice": False, "domain": [edges[0], edges[-1]]}
    count = _count_axis(counts)
    bars: Spec = {
        "mark": {"type": "bar", "color": ACCENT, "binSpacing": 1},
        "data": {"values": values},
        "encoding": {"x": {**x, "bin": "binned"}, "x2": {"field": "to"}, "y": {**count, "title": y_title}},
    }
    return _spec([bars, *_rule_at(mark_at, "from")])


def _count_axis(counts: Sequence[float]) -> Spec:
    axis = {"values": _whole_ticks(max(counts, default=0)), "format": "~s"}
    return {"field": "count", "type": "quantitative", "scale": {"type": "symlog"}, "axis": axis}


def _whole_ticks(highest: float) -> list[int]:
    """Places for the numbers of a logarithmic axis that begins at 0. Left to itself, it would show half clips.

    >>> _whole_ticks(3), _whole_ticks(60), _whole_ticks(41_000)
    ([0, 1, 2, 3], [0, 1, 2, 5, 10, 20, 50], [0, 1, 10, 100, 1000, 10000])
    """
    if highest < 5:
        return list(range(int(highest) + 1))
    steps = (1, 2, 5) if highest < 500 else (1,)
    ticks = (step * 10**power for power in range(16) for step in steps)
    return [0, *(tick for tick in ticks if tick <= highest)]


def named_bars(names: Sequence[str], counts: Sequence[float], *, x_title: str, y_title: str) -> Spec:
    """One bar per name, in the order given."""
    values = [{"name": name, "count": number} for name, number in zip(names, counts, strict=True)]
    x = {"field": "name", "type": "ordinal", "sort": None, "title": x_title, "axis": {"labelAngle": 0}}
    count = _count_axis(counts)
    bars: Spec = {
        "mark": {"type": "bar", "color": ACCENT},
        "data": {"values": values},
        "encoding": {"x": x, "y": {**count, "title": y_title}},
    }
    return _spec([bars])


def _rule_at(value: float | None, field: str) -> list[Spec]:
    """A dashed line where the limit is."""
    if value is None:
        return []
    encoding = {"x": {"field": field, "type": "quantitative"}}
    mark = {"type": "rule", "color": REMOVED, "strokeWidth": 2, "strokeDash": [5, 4]}
    return [{"mark": mark, "data": {"values": [{field: value}]}, "encoding": encoding}]


def _spec(layers: list[Spec]) -> Spec:
    return {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **_SIZE, "layer": layers, "config": CONFIG}
