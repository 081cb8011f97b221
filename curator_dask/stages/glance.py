"""What a notebook shows of a run: the glance of its report, where there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.report.page.glance import glance_html


def glance_at(output: Folder, counts: Mapping[str, int]) -> str | None:
    """The glance of the report in an output; None where there is no report, or one of other counts."""
    folder = output.below(layout.REPORT)
    if not folder.exists(layout.REPORT_JSON):
        return None
    report = json.loads(folder.read_bytes(layout.REPORT_JSON))
    told = {name: number for name, number in report["totals"].items() if name != "line"}
    return glance_html(report, folder) if told == counts else None
