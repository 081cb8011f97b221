"""What encryption costs between the client and local workers: start-up, a thousand tasks, and arrays there and back.

Run: ``python -m benchmarks.tls``. Both ways are measured in turn, so that other programs on the machine slow both; the best
time of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from distributed import Client, LocalCluster, Security

PLAIN, ENCRYPTED = "plain", "encrypted"
MB = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    best: dict[str, dict[str, float]] = defaultdict(dict)
    for _ in range(chosen.repeats):
        for way in (PLAIN, ENCRYPTED):
            for name, seconds in _measure(way == ENCRYPTED, chosen.workers, chosen.megabytes):
                best[name][way] = min(seconds, best[name].get(way, seconds))
    print("| what | plain, s | encrypted, s | more, s |\n|---|---|---|---|")
    for name, times in best.items():
        plain, encrypted = times[PLAIN], times[ENCRYPTED]
        print(f"| {name} | {plain:.3f} | {encrypted:.3f} | {encrypted - plain:+.3f} |")


def _measure(encrypted: bool, workers: int, megabytes: int) -> Iterator[tuple[str, float]]:
    """What is measured, with its seconds."""
    X = np.random.default_rng(0).integers(0, 255, megabytes * MB, np.uint8)
    start = time.perf_counter()
    security = Security.temporary() if encrypted else None
    yield "keys", time.perf_counter() - start
    start = time.perf_counter()
    options = {"security": security, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield f"{workers} workers start", time.perf_counter() - start
        start = time.perf_counter()
        client.gather(client.map(abs, range(1000)))
        yield "1,000 empty tasks", time.perf_counter() - start
        start = time.perf_counter()
        X_there = client.scatter(X)
        yield f"{megabytes} MB to a worker", time.perf_counter() - start
        start = time.perf_counter()
        X_there.result()
        yield f"{megabytes} MB from a worker", time.perf_counter() - start


if __name__ == "__main__":
    main()
