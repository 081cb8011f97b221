"""Measure the speed and memory of the device, and write results."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curator_dask.dedup.similarity.candidates import FLOAT32, Precision

GIB = 2.0**30


class Peak:
    """The highest device memory in use by all processes together, workers included, as NVML reports it."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self.total = 0

    @contextlib.contextmanager
    def watching(self, every_s: float = 0.02) -> Iterator[Peak]:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(every_s):
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                self.num_bytes, self.total = max(self.num_bytes, memory.used), memory.total

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            stop.set()
            watcher.join()

    def __str__(self) -> str:
        return f"{self.num_bytes / GIB:.1f} of {self.total / GIB:.0f} GiB"


def timed(work: Callable[[], Any]) -> float:
    """Seconds until the device has finished the work."""
    import cupy

    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    work()
    cupy.cuda.Device().synchronize()
    return time.perf_counter() - start


def gemm_flops(dim: int, precision: Precision = FLOAT32, *, size: int = 8192, rounds: int = 5) -> float:
    """FLOP/s of the product (size, dim) x (dim, size) in this precision: the median of several, after a warm-up."""
    import cupy

    a = cupy.random.default_rng(0).standard_normal((size, dim), dtype=cupy.float32)
    out = cupy.empty((size, size), dtype=cupy.float32)
    seconds = [timed(lambda: precision.multiply(a, a, out)) for _ in range(rounds + 1)][1:]
    return 2.0 * size * size * dim / float(np.median(seconds))


def mixture_on_device(num_rows: int, dim: int, k: int, seed: int) -> Any:
    """(num_rows, dim) float32 unit rows around k directions. Every tenth row, on average, is a near copy of the row before."""
    import cupy

    random = cupy.random.default_rng(seed)
    directions = random.standard_normal((k, dim), dtype=cupy.float32)
    X = directions[random.integers(0, k, num_rows)] + random.standard_normal((num_rows, dim), dtype=cupy.float32) * 0.5
    copies = cupy.flatnonzero(random.random(num_rows - 1) < 0.1) + 1
    X[copies] = X[copies - 1] * cupy.float32(1.001)
    X /= cupy.linalg.norm(X, axis=1)[:, None]
    return X


def device_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def machine() -> str:
    """One line with the device, its driver, and the versions of the libraries."""
    import importlib

    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    names = ("cupy", "cudf", "cuml", "dask", "curator_dask")
    versions = [f"{name} {importlib.import_module(name).__version__}" for name in names]
    return f"{device_name()}; driver {driver}; {platform.machine()}, {os.cpu_count()} cores; {', '.join(versions)}"


def report(path: Path | None, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, and append it to the file `path` if it is given."""
    lines = [f"## {title}", "", machine(), "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    text = "\n".join([*lines, "", ""])
    print(text, flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)
