"""Digests of ids: where a table of a cluster has them, as earlier versions wrote them, and where it has the ids alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.data.decisions.row_index import id_digests
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions.decision_table import DIGESTS, with_digests, write_unit_table
from curator_dask.stages.identify.decisions.table_rows import TableRows, TablesInMemory, UnitTables, key_of_cluster

IDS = {4: ["b", "a", "é"], 7: ["", "c"]}


@pytest.fixture(params=["made by their writer", "missing"])
def unit_tables(tmp_path, request) -> UnitTables:
    state = StageState(Folder(str(tmp_path)), "identify")
    for number, ids in IDS.items():
        table = pa.table({"id": ids, "removed": [False] * len(ids)})
        if request.param != "missing":
            table = with_digests({name: table[name] for name in table.column_names})
        key = key_of_cluster("cluster", number)
        written = write_unit_table(state.folder, state.beside_marker(key), table, {})
        state.write(UnitRecord(key, "made from", written.outputs))
    return UnitTables(state, "cluster", tuple(IDS))


def test_digests_are_read_or_made(unit_tables):
    expected = id_digests(pa.chunked_array([[one for ids in IDS.values() for one in ids]]))
    tables = list(unit_tables.read([0, 1], ["removed", *DIGESTS]))
    assert [table.column_names for table in tables] == [["removed", *DIGESTS]] * 2
    found = np.stack([np.concatenate([table[name].to_numpy() for table in tables]) for name in DIGESTS], axis=1)
    np.testing.assert_array_equal(found, expected)


def test_rows_are_found_by_their_ids(unit_tables):
    in_memory = TablesInMemory(dict(zip(IDS, unit_tables.read([0, 1]), strict=True)))
    for tables in (unit_tables, in_memory):
        rows = TableRows(tables, np.array([0, 3, 5]), pa.string())
        assert rows.index.find(pa.chunked_array([["c", "x", "é", ""]])).tolist() == [4, -1, 2, 3]
