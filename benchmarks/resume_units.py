"""What a second run costs that finds all units done, and what a first run costs the client per unit.

Run: ``python -m benchmarks.resume_units``. The units are made up, with one small output each; their files and markers are
real, and so is all that is measured. Each size is measured with the markers in batches and, up to 20,000, with a file for
each. ``--store`` does it on a real server of S3's language (moto) that waits before each answer as a network would.
``--s3`` does it with very many units: the server keeps its keys in order (`benchmarks.long_listings`), and is given the
objects without requests. Its pages are asked for twice: moto makes them, and then it gives the same bytes again, as a store
would that is not busy with making them.
``--first`` runs small units on two workers. Seconds are processor seconds of this process unless they are called wall.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.long_listings import FilledBucket
from benchmarks.object_store import KEYS, Network, Store, running_store
from curator_dask.files.content_hash import Written, hash_of
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.markers import packing
from curator_dask.runtime.markers.lines import line_of
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitRecord, UnitResult, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units

MOST_LOOSE = 20_000
"""Markers that are made as files of their own at most."""
AT_ONCE = 20_000


def record_of(number: int) -> UnitRecord:
    """The record of a unit whose output is a file of up to 49 bytes."""
    key, data = digest(number), content(number)
    size = Written(len(data), hash_of(data))
    return UnitRecord(key, digest(number, "inputs"), {f"out/{key}.bin": size}, {"made": 1, "bytes": len(data)})


def content(number: int) -> bytes:
    return b"x" * (number % 50)


def units_of(num_units: int, share: float = 0.01) -> list[Unit[int]]:
    return [Unit(digest(number), digest(number, "inputs"), number, share=share) for number in range(num_units)]


def make_finished(state: StageState, num_units: int, *, packed: bool) -> None:
    """Leave what a finished run leaves: outputs, and markers in batches or in files."""
    for start in range(0, num_units, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, num_units))
        records = [record_of(number) for number in numbers]
        files = {next(iter(record.outputs)): content(n) for n, record in zip(numbers, records, strict=True)}
        if packed:
            packing.add(state._markers.batches, [line_of(record.key, record.fields()) for record in records])
        else:
            files |= {state.path("units", f"{record.key}.json"): record.to_json() for record in records}
        with ThreadPoolExecutor(1 if state.folder.is_local else 32) as pool:
            list(pool.map(put, itertools.repeat(state.folder), files, files.values()))


def put(folder: Folder, path: str, data: bytes) -> None:
    """Write a file without flushing it, which would take most of the time."""
    if not folder.is_local:
        folder.write_bytes(path, data)
        return
    place = folder.local_path(path)
    if not place.parent.is_dir():
        place.parent.mkdir(parents=True)
    place.write_bytes(data)


def read_plainly(root: Path) -> int:
    """The limit: read all bytes of the records, and ask for the size of each output, with nothing else; returns bytes."""
    num_bytes = 0
    for folder, is_output in ((root / "out", True), *((path, False) for path in (root / ".curator/work").iterdir())):
        with os.scandir(folder) as found:
            for item in found:
                num_bytes += item.stat().st_size if is_output else len(Path(item.path).read_bytes())
    return num_bytes


def second_run(state: StageState, units: Sequence[Unit[int]], cluster: LazyCluster) -> UnitsOutcome:
    outcome = run_units(cluster, state, units, do_nothing, reporter=SilentReporter(), what="units")
    if outcome.num_run or outcome.counts["made"] != len(units):
        raise SystemExit(f"the second run is wrong: {outcome.num_run} units ran, counts {outcome.counts}")
    return outcome


def do_nothing(number: int) -> UnitResult:
    raise RuntimeError(f"unit {number} was done")


def timed(work: Any, *arguments: Any) -> tuple[float, float]:
    """Processor seconds and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.process_time() - cpu, time.perf_counter() - wall


def measure_local(num_units: int, *, packed: bool, place: str) -> None:
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        state = StageState(Folder(scratch), "work")
        make_finished(state, num_units, packed=packed)
        units = units_of(num_units)
        if not packed:
            packing.MOST_LOOSE = num_units + 1  # else the second run would pack them
        limit_cpu, _ = timed(read_plainly, Path(scratch))
        cpu, wall = timed(second_run, state, units, LazyCluster(ClusterSettings(device="cpu")))
        num_files = sum(1 for entry in state.folder.entries(state.path()))
        kind = "batches" if packed else "files"
        print(
            f"| local | {num_units:,} | {kind} | {num_files:,} | {cpu:.1f} | {wall:.1f} | {cpu / num_units * 1e6:.1f} | "
            f"{cpu / limit_cpu:.2f} |",
            flush=True,
        )


def _options(store: Store) -> dict[str, str]:
    return {"key": "none", "secret": "none", "endpoint_url": store.url}


def measure_store(store: Store, num_units: int, *, packed: bool) -> None:
    name = f"s3://bucket/{num_units}-{packed}"
    state = StageState(Folder(name, _options(store)), "work")
    make_finished(state, num_units, packed=packed)
    units = units_of(num_units)
    if not packed:
        packing.MOST_LOOSE = num_units + 1
    store.requests()
    cpu, wall = timed(second_run, state, units, LazyCluster(ClusterSettings(device="cpu")))
    requests = ", ".join(f"{count} {kind}" for kind, count in sorted(store.requests().items()))
    kind = "batches" if packed else "files"
    print(
        f"| store | {num_units:,} | {kind} | {requests} | {cpu:.1f} | {wall:.1f} | {cpu / num_units * 1e6:.1f} | |",
        flush=True,
    )


def output_of(number: int) -> dict[str, bytes]:
    """The object that a unit leaves, by its key in the bucket."""
    return {f"many/out/{digest(number)}.bin": content(number)}


def measure_s3(num_units: int, network: Network) -> None:
    print("| units | pages | requests | client CPU s | wall s | server CPU s | client CPU µs per unit |")
    print("|---|---|---|---|---|---|---|", flush=True)
    units = units_of(num_units)
    with tempfile.TemporaryDirectory() as folder:
        for store in running_store(Path(folder), network, FilledBucket(output_of, num_units)):
            state = StageState(Folder("s3://bucket/many", _options(store)), "work")
            for start in range(0, num_units, AT_ONCE):
                records = map(record_of, range(start, min(start + AT_ONCE, num_units)))
                packing.add(state._markers.batches, [line_of(record.key, record.fields()) for record in records])
            for pages in ("made by moto", "kept"):
                print(f"| {num_units:,} | {pages} | {_told_of(store, state, units)} |", flush=True)


def _told_of(store: Store, state: StageState, units: Sequence[Unit[int]]) -> str:
    """Requests, processor seconds of the client, wall seconds, processor seconds of the server, and the cost of a unit."""
    store.requests()
    before = store.cpu_s()
    cpu, wall = timed(second_run, state, units, LazyCluster(ClusterSettings(device="cpu")))
    server = store.cpu_s() - before
    requests = ", ".join(f"{count} {kind}" for kind, count in sorted(store.requests().items()))
    return f"{requests} | {cpu:.1f} | {wall:.1f} | {server:.1f} | {cpu / len(units) * 1e6:.1f}"


def work(folder: Folder, number: int) -> UnitResult:
    data = content(number)
    path = f"out/{digest(number)}.bin"
    return UnitResult({path: folder.write_bytes(path, data)}, {"made": 1, "bytes": len(data)})


class _Write:
    """The work of a unit in a first run; it travels to the workers."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __call__(self, number: int) -> UnitResult:
        return work(self._folder, number)


def measure_first(num_units: int, share: float) -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster,
    ):
        state = StageState(Folder(scratch), "work")
        cluster.client.submit(os.getpid).result()
        units = units_of(num_units, share)
        cpu, wall = timed(
            lambda: run_units(cluster, state, units, _Write(state.folder), reporter=SilentReporter(), what="units")
        )
        num_files = sum(1 for _ in state.folder.entries(state.path()))
        print(
            f"| {num_units:,} | {share:g} | {cpu / num_units * 1e3:.2f} | {wall / num_units * 1e3:.2f} | {num_files:,} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--store", type=int, nargs="*", default=[], help="numbers of units on the store")
    in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    parser.add_argument("--place", default=in_memory, help="the local folder to make files in; default: in memory")
    parser.add_argument("--s3", type=int, default=0, help="units on a store whose keys are kept in order")
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--mb-per-s", type=float, default=20.0, help="the pace of one connection to a store")
    parser.add_argument("--first", type=int, default=0, help="units of a first run")
    chosen = parser.parse_args()
    network = Network(chosen.latency_ms / 1000, chosen.mb_per_s * 1e6)
    os.environ.update(KEYS)
    if chosen.units or chosen.store:
        print("| where | units | markers in | files or requests | CPU s | wall s | CPU µs per unit | CPU to limit |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
    most = packing.MOST_LOOSE
    for num_units, packed in _cases(chosen.units):
        packing.MOST_LOOSE = most
        measure_local(num_units, packed=packed, place=chosen.place)
    if chosen.store:
        with tempfile.TemporaryDirectory() as folder:
            for store in running_store(Path(folder), network):
                Folder("s3://bucket", _options(store)).fs.mkdir("bucket")
                for num_units, packed in _cases(chosen.store):
                    packing.MOST_LOOSE = most
                    measure_store(store, num_units, packed=packed)
    packing.MOST_LOOSE = most
    if chosen.s3:
        measure_s3(chosen.s3, network)
    if chosen.first:
        print(
            "| units | share of a task | client CPU ms per unit | wall ms per unit | marker files |\n|---|---|---|---|---|"
        )
        for share in (1.0, 0.01):
            measure_first(chosen.first, share)


def _cases(sizes: Sequence[int]) -> Iterator[tuple[int, bool]]:
    for num_units in sizes:
        yield num_units, True
        if num_units <= MOST_LOOSE:
            yield num_units, False


if __name__ == "__main__":
    main()
