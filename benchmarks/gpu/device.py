"""Measure the speed and the memory of the device."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from curator_dask.dedup.similarity.candidates import FLOAT32, Precision

GIB = 2.0**30
FIRST_SEED = 1_000_003


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
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            self.num_bytes, self.total = max(self.num_bytes, memory.used), memory.total

        def look_again() -> None:
            while not stop.wait(every_s):
                look()

        look()
        watcher = threading.Thread(target=look_again, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            stop.set()
            watcher.join()

    @property
    def share(self) -> float:
        """The share of the device's memory."""
        return self.num_bytes / self.total if self.total else 0.0

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


def fastest(work: Callable[[], Any], rounds: int = 3) -> float:
    """The seconds of the fastest of several rounds, after a first one in which kernels are loaded."""
    return min([timed(work) for _ in range(rounds + 1)][1:])


def gemm_flops(dim: int, precision: Precision = FLOAT32, *, size: int = 8192, rounds: int = 5) -> float:
    """FLOP/s of the product (size, dim) x (dim, size) in this precision: the median of several, after a warm-up."""
    import cupy

    a = cupy.random.default_rng(0).standard_normal((size, dim), dtype=cupy.float32)
    out = cupy.empty((size, size), dtype=cupy.float32)
    seconds = [timed(lambda: precision.multiply(a, a, out)) for _ in range(rounds + 1)][1:]
    return 2.0 * size * size * dim / float(np.median(seconds))


def mixture_on_device(num_rows: int, dim: int, k: int, seed: int) -> Any:
    """(num_rows, dim) float32 unit rows around k directions. Every tenth row, on average, is a near copy of the row before.

    The directions are the same for every seed, so that parts of one set are made one after the other.
    """
    import cupy

    random = cupy.random.default_rng(seed + FIRST_SEED)
    directions = cupy.random.default_rng(0).standard_normal((k, dim), dtype=cupy.float32)
    X = directions[random.integers(0, k, num_rows)] + random.standard_normal((num_rows, dim), dtype=cupy.float32) * 0.5
    copies = cupy.flatnonzero(random.random(num_rows - 1) < 0.1) + 1
    X[copies] = X[copies - 1] * cupy.float32(1.001)
    X /= cupy.linalg.norm(X, axis=1)[:, None]
    return X
