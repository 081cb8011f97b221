"""The decisions of a run in words, where there is nothing to decide or to measure."""

from __future__ import annotations

from curator_dask.cli.output.decision_report import decision_report

NONE = {"rows": 0, "kept": 0, "removed": 0, "orphans": 0}


def test_no_rows():
    assert decision_report("eps 0.05", NONE) == "eps 0.05: there are no rows to decide on"


def test_a_recall_without_pairs():
    counts = {"rows": 4, "kept": 4, "removed": 0, "orphans": 0}
    recall = {"recall_rows": 4, "recall_pairs": 0, "recall_pairs_found": 0}
    assert decision_report("eps 0.05", counts | recall).splitlines() == [
        "eps 0.05 (a similarity of 0.95 or more): 4 of 4 rows kept (100.0%)",
        "recall: the 4 sampled rows have no duplicates",
    ]


def test_one_orphan_is_told_as_one():
    said = decision_report("eps 0.65", NONE | {"rows": 4, "kept": 2, "removed": 2, "orphans": 1, "groups": 1})
    assert said.splitlines() == [
        "eps 0.65 (a similarity of 0.35 or more): 2 of 4 rows kept (50.0%), 1 group of duplicates",
        "1 orphan among the removed rows: rows without a kept row within eps, as in a chain of near-duplicates. --rule greedy "
        "removes no such rows",
    ]
