"""What a terminal says of a report."""

from __future__ import annotations

from curator_dask.cli.output.report_lines import report_lines

REPORT = {
    "totals": {"clips": 400, "kept": 120, "removed": 270, "plain": 10, "failed": 0},
    "seconds": {"kept": 1200.0, "removed": 2640.0, "plain": 100.0},
    "bytes": {"kept": 15_000_000, "removed": 10_300_000, "plain": 0},
    "orphans": 1,
    "removed_by": {"kind": {"copy": 4, "identical": 266, "shifted": 0}},
}


def test_shares_time_and_size_are_told():
    assert report_lines(REPORT) == [
        "kept: 30 % of the clips, 20 min of video, 15.0 MB",
        "removed: 68 % of the clips, 44 min of video, 10.3 MB",
        "removed as: the same pictures (266); a copy, encoded or edited anew (4)",
        "1 orphan: removed without being like a kept clip, only like another removed one",
        "69.2% of the clips were removed; on footage from the web, 20 to 40 % is ordinary.",
    ]


def test_vectors_of_ones_own_have_no_time_and_size():
    nothing = {"kept": 0.0, "removed": 0.0, "plain": 0.0}
    totals = {"clips": 4, "kept": 3, "removed": 1, "plain": 0, "failed": 0}
    report = {"totals": totals, "seconds": nothing, "bytes": nothing, "orphans": 0, "removed_by": {"kind": {}}}
    assert report_lines(report) == ["kept: 75 % of the clips", "removed: 25 % of the clips"]
