"""Join the decisions of clusters whose rows have duplicates in these clusters alone."""

from __future__ import annotations

from curator_dask.data.ids import id_list, id_text
from curator_dask.dedup.decide.rules import Rule
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions, find_named, load_decisions
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, Indices
from curator_dask.stages.identify.settling.settle_crossing import settle_crossing


def join_decisions(tables: ClusterTables, rule: Rule) -> Decisions:
    """Join the decision tables of some clusters, whose rows have duplicates in these clusters alone.

    By the greedy rule only the best match of a row in another cluster is known, and removes it if it is kept.

    Raises InputError where the duplicate of a row is in no cluster.
    """
    loaded = load_decisions(tables, rule)
    decisions, rows = loaded.decisions, loaded.crossing
    find_named(decisions, loaded.named)
    settle_crossing(decisions, rows, _match_rows(decisions, rows), None, lambda: id_list(decisions.rows.ids(rows)))
    return decisions


def _match_rows(decisions: Decisions, rows: Indices) -> Indices:
    """The row in another cluster that each of `rows` is a duplicate of."""
    matches: Indices = decisions.max_row[rows]
    lost = matches[matches >= len(decisions.removed)]
    if len(lost):
        name = id_text(decisions.others[int(lost[0]) - len(decisions.removed)].as_py())
        raise InputError(f"a similarity table names {name!r}, which is in no cluster: run the pairwise stage again")
    return matches
