"""The numbers of a report in a few lines: how much was kept and removed, and as what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curator_dask.files.names import counted


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Lines for a terminal, of the content of ``report.json``."""
    return list(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    from curator_dask.report.build import unusual_share
    from curator_dask.report.page.words import KINDS

    for state in ("kept", "removed"):
        yield _amount(report, state)
    kinds = report["removed_by"]["kind"]
    if any(kinds.values()):
        told = sorted(((number, KINDS.get(kind, kind)) for kind, number in kinds.items() if number), reverse=True)
        yield "removed as: " + "; ".join(f"{name} ({number:,})" for number, name in told)
    if report["orphans"]:
        yield f"{counted(report['orphans'], 'orphans')}: removed without being like a kept clip, only like another removed one"
    unusual = unusual_share(report["totals"])
    if unusual:
        yield unusual


def _amount(report: Mapping[str, Any], state: str) -> str:
    """``kept: 64 % of the clips, 5 min of video, 15.0 MB``."""
    from curator_dask.report.page.words import duration, percent, size

    clips, seconds, num_bytes = (report[key][state] for key in ("totals", "seconds", "bytes"))
    parts = [f"{percent(clips, report['totals']['clips'])} of the clips"]
    parts += [f"{duration(seconds)} of video"] if seconds else []
    parts += [size(num_bytes)] if num_bytes else []
    return f"{state}: {', '.join(parts)}"
