"""A client is killed while it packs markers on a store that speaks S3; the next run goes on and counts each unit once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from curator_dask.files.folder import Folder
from curator_dask.runtime.markers import packing
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units

NUM_UNITS = 16
KILLED = '''
import json, os, signal, sys
import s3fs
from curator_dask.files.folder import Folder
from curator_dask.runtime.markers import packing
from curator_dask.runtime.state import StageState

url, options, at = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
packing.MOST_LOOSE = 2
call, num_calls = s3fs.S3FileSystem._call_s3, 0

async def dying(self, method, *arguments, **named):
    """Die at one request that changes the store: even moments before it, odd ones after it."""
    global num_calls
    number = num_calls
    if method in ("put_object", "delete_object"):
        num_calls += 1
        if at == 2 * number:
            os.kill(os.getpid(), signal.SIGKILL)
    answer = await call(self, method, *arguments, **named)
    if method in ("put_object", "delete_object") and at == 2 * number + 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

s3fs.S3FileSystem._call_s3 = dying
StageState(Folder(url, options), "work").pack()
'''
MOMENTS = {"before the batch is written": 0, "when it is written": 1, "while markers are removed": 17}


@dataclass(frozen=True)
class Write:
    """The work of a unit: one small file."""

    folder: Folder

    def __call__(self, number: int) -> UnitResult:
        path = f"out/{number}.txt"
        return UnitResult({path: self.folder.write_bytes(path, b"x" * number)}, {"made": 1, "bytes": number})


def run(cluster, state):
    units = [Unit(f"u{number:02}", f"v{number}", number, share=0.02) for number in range(NUM_UNITS)]
    return run_units(cluster, state, units, Write(state.folder), reporter=SilentReporter(), what="units")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_client_that_is_killed_while_it_packs_loses_nothing(s3, cluster, tmp_path, monkeypatch, moment):
    state = StageState(Folder(f"{s3.url}/{tmp_path.name}", s3.storage_options), "work")
    counts = {"made": NUM_UNITS, "bytes": sum(range(NUM_UNITS))}
    first = run(cluster, state)
    assert (first.num_run, first.counts) == (NUM_UNITS, counts)
    records = list(state.records())
    killed = [sys.executable, "-c", KILLED, state.folder.url, json.dumps(s3.storage_options), str(MOMENTS[moment])]
    assert subprocess.run(killed, check=False, timeout=240).returncode == -signal.SIGKILL
    num_batches = len(state.folder.entries(state.path("batches")))
    num_loose = len(state.folder.entries(state.path("units")))
    assert num_batches == (MOMENTS[moment] > 0)
    assert num_loose + NUM_UNITS * num_batches >= NUM_UNITS
    assert list(state.records()) == records
    # Requests that were under way when the client died are carried out: sometimes all but one of the markers are gone.
    monkeypatch.setattr(packing, "MOST_LOOSE", 1)
    second = run(cluster, state)
    assert (second.num_run, second.num_skipped, second.counts) == (0, NUM_UNITS, counts)
    assert state.folder.entries(state.path("units")) == []
    assert list(state.records()) == records
