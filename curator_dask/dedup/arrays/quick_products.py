"""Products of one-byte numbers by ONNX Runtime, which uses the processor's instructions for them.

They are about three times as quick as float32 products, and exact. ONNX Runtime loads in .04 s; it computes in the thread
that asks. Its model is a single product, made by ``tools/one_byte_model.py``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MODEL: Final = Path(__file__).with_name("one_byte.onnx")
ZERO: Final = 128
"""What stands for zero in rows of uint8: the quick instructions take one side without a sign."""
TRIED: Final = (512, 256, 1024)
"""Rows, columns and their numbers in the product that is tried."""
FATAL: Final = 4
"""Errors come as exceptions, and need not stand on the terminal too."""

Bytes = NDArray[np.int8]


def multiply(rows: Bytes, columns: Bytes, steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, k) float32, products of numbers (n, D) from -127 to 127 with columns (D, k), times their steps (k,).

    Whole sums beyond 2**24 are rounded to float32 before that. Ask `are_quick` first.

    >>> multiply(np.int8([[1, 2]]), np.int8([[3], [-4]]), np.float32([0.5])).tolist() if are_quick() else [[-2.5]]
    [[-2.5]]
    """
    unsigned = rows.view(np.uint8) ^ np.uint8(ZERO)
    products: NDArray[np.float32] = _session().run(None, {"rows": unsigned, "columns": columns, "steps": steps})[0]
    return products


@functools.cache
def are_quick() -> bool:
    """Whether ONNX Runtime is there, and multiplies such numbers exactly and quicker than NumPy's float32 on this machine.

    Some processors add up products of two bytes in two bytes, where large ones do not fit; others have no quick way.
    """
    num_rows, num_columns, dim = TRIED
    random = np.random.default_rng(0)
    rows, columns = (random.integers(-127, 128, (number, dim), np.int8) for number in (num_rows, num_columns))
    rows[0], columns[0], columns[1] = 127, 127, -127
    wide_rows, wide_columns, upright = rows.astype(np.float32), columns.astype(np.float32), columns.T.copy()
    steps = random.random(num_columns, np.float32)
    try:
        found = multiply(rows, upright, steps)
    except Exception:  # not installed, or a build that lacks the product
        return False
    is_exact = np.array_equal(found, (wide_rows @ wide_columns.T) * steps)
    return is_exact and _seconds(lambda: multiply(rows, upright, steps)) < _seconds(lambda: wide_rows @ wide_columns.T)


def _seconds(work: Callable[[], Any]) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(3))


@functools.cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest product
    return onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
