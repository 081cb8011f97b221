"""Which clusters a part of the decisions holds, also where its file is damaged."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from curator_dask.data.decisions.read_decisions import Part, clusters_of_parts, extent
from curator_dask.data.tables import write_parquet
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder

CLUSTERS = [[3, 3, 4, 9], [], [9, 12]]
FLIP_EACH_BYTE = """
import struct, sys
from pathlib import Path
from curator_dask.data.decisions.read_decisions import Part, clusters_of_parts
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder

folder, file = Folder(sys.argv[1]), Path(sys.argv[1], sys.argv[2])
whole, right = file.read_bytes(), clusters_of_parts(Folder(sys.argv[1]))
footer = len(whole) - 8 - struct.unpack("<I", whole[-8:-4])[0]
outcomes = {"read": 0, "refused": 0}
for at in range(footer, len(whole) - 8):
    for change in (0x01, 0x10, 0xFF):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1:])
        try:
            clusters_of_parts(folder)
            outcomes["read"] += 1
        except InputError:
            outcomes["refused"] += 1
file.write_bytes(whole)
assert clusters_of_parts(folder) == right
print(outcomes["read"] + outcomes["refused"] == 3 * (len(whole) - 8 - footer), min(outcomes.values()) > 0)
"""


def write_parts(folder: Folder, clusters):
    num_rows = sum(map(len, clusters))
    for number, some in enumerate(clusters):
        ids = pa.array([f"clip-{number}-{row}" for row in range(len(some))], pa.large_string())
        table = pa.table({"id": ids, "removed": pa.array([False] * len(some)), "cluster": pa.array(some, pa.int64())})
        table = table.replace_schema_metadata(extent(len(clusters), num_rows))
        write_parquet(folder, layout.decision_part(number), table)


@pytest.fixture
def folder(tmp_path) -> Folder:
    folder = Folder(str(tmp_path))
    write_parts(folder, CLUSTERS)
    return folder


def test_a_part_without_rows_has_no_clusters(folder):
    first, _, last = (layout.decision_part(number) for number in range(3))
    assert clusters_of_parts(folder) == [Part(first, 3, 9), Part(last, 9, 12)]


def test_a_row_without_a_cluster_is_an_error(tmp_path):
    folder = Folder(str(tmp_path))
    write_parts(folder, [[None]])
    with pytest.raises(InputError, match="part-000000.parquet.*no cluster"):
        clusters_of_parts(folder)


def test_a_damaged_footer_neither_ends_the_process_nor_gives_a_traceback(folder, tmp_path):
    command = [sys.executable, "-c", FLIP_EACH_BYTE, str(tmp_path), layout.decision_part(0)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout.split()) == (0, ["True", "True"]), found.stderr[-2000:]
