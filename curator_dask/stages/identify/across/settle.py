"""Settle once which rows the greedy rule removes for rows of other clusters, and keep that beside the decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.data.tables import read_unit_tables
from curator_dask.files.names import counted
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster.spec import CrossClusterSpec
from curator_dask.stages.cross_cluster.stage import group_units
from curator_dask.stages.cross_cluster.worker import find_group_borders
from curator_dask.stages.identify.across.find_taken import Masks, Rounds, taken_table
from curator_dask.stages.identify.decisions.decision_table import write_unit_table

if TYPE_CHECKING:
    import pyarrow as pa

UNIT = "across"
VERSION = 1
"""Version of how rows are settled. What an older one settled is settled again."""


def settled_from(clusters: Sequence[ClusterInput], eps: float) -> str:
    """Digest of all that the rows of other clusters depend on."""
    return digest([cluster.version for cluster in clusters], eps, VERSION)


def settle_across(
    context: RunContext, state: StageState, clusters: Sequence[ClusterInput], spec: CrossClusterSpec, eps: float,
    gone: Masks | None = None,
) -> pa.Table:  # fmt: skip
    """The rows that kept rows of other clusters remove, with the nearest of these (see `taken_table`).

    Args:
        gone: rows that are removed anyway, in ranked order. The versions of the clusters tell them.
    """
    made_from, path = settled_from(clusters, eps), state.beside_marker(UNIT)
    if state.done_units([UNIT]).get(UNIT) != made_from:
        _find_borders(context, state, spec, made_from)
        rounds = Rounds(context.cluster.client, context.reporter.note, clusters, spec, eps, gone or {})
        table = taken_table(rounds.run())
        result = write_unit_table(state.folder, path, table, {"taken": len(table)})
        state.write(UnitRecord.of(UNIT, made_from, result))
        state.forget([unit.key for unit in group_units("borders", spec, made_from)])
    [table] = read_unit_tables(state, [path])
    return table


def _find_borders(context: RunContext, state: StageState, spec: CrossClusterSpec, made_from: str) -> None:
    """Write the border rows of all groups, as the cross-cluster stage did."""
    units = group_units("borders", spec, made_from)
    done = run_units(
        context.cluster, state, units, find_group_borders, reporter=context.reporter, what="groups (borders)"
    )
    done.raise_failures(f"{counted(len(done.failures), 'groups')} of clusters could not be compared")
