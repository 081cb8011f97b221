"""Stands for CuPy in a rehearsal: the strict stand-in of the tests, with what the benchmarks use besides."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.strict_cupy import DeviceArray, strict_cupy

_strict = strict_cupy(free_bytes=1 << 30)
__version__ = "0 (a stand-in)"
ndarray = DeviceArray


class _Generator:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: DeviceArray(np.asarray(getattr(self._random, name)(*args, **more)))


class _Device:
    compute_capability, id = "90", 0

    def synchronize(self) -> None:
        pass


random = SimpleNamespace(default_rng=_Generator)
linalg = SimpleNamespace(norm=lambda X, axis=None: DeviceArray(np.linalg.norm(X.get(), axis=axis)))
_runtime = SimpleNamespace(
    **vars(_strict.cuda.runtime),
    CUDARuntimeError=RuntimeError,
    getDeviceProperties=lambda _: {"name": b"no device (a stand-in)"},
)
cuda = SimpleNamespace(**{**vars(_strict.cuda), "Device": _Device, "runtime": _runtime, "stream": nullcontext})


def get_default_memory_pool() -> Any:
    return SimpleNamespace(free_all_blocks=lambda: None)


def __getattr__(name: str) -> Any:
    return getattr(_strict, name)
