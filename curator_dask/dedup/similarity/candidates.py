"""The precision of the products that find candidates, and how far these products can be from the cosines.

A product here decides nothing. It is off by at most `Precision.bound`; every pair within this bound of the best, or of a
threshold, is measured again in more bits. So a device may multiply in TF32, which its tensor cores do several times
as fast as float32, and the results are the same, byte for byte.

The bound of a dot product of unit rows has two parts (Blanchard, Higham, Lopez, Mary, Pranesh: Mixed Precision Block
Fused Multiply-Add, 2020; |x|.|y| <= 1 by Cauchy-Schwarz):

* inputs that enter with a relative error u each: 2 u + u^2. NVIDIA documents the formats (TF32 has 11 significant bits,
  bfloat16 8), but not whether inputs are rounded or truncated to them. A number that is truncated to p bits is off by
  2**(1-p), twice as much as a rounded one, so truncation is assumed.
* D terms added in float32, in any order: D * 2**-24 where every addition is rounded. Tensor cores truncate instead, also
  the terms that they add together (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, 2021): at
  most 9/8 * 2**-23 per term for eight terms together, 5/4 * 2**-23 for four. Four times 2**-24 per term is more than
  either.
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

from curator_dask.dedup.arrays.xp import Array, array_module
from curator_dask.errors import ParameterError

CANDIDATES_VARIABLE: Final = "CURATOR_DASK_CANDIDATES"
MIN_CAPABILITY: Final = 80
"""Compute capability (8.0, Ampere) from which tensor cores take float32 as TF32 or bfloat16."""
PROBE_ROWS: Final = 48
PROBE_DIM: Final = 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Precision:
    """How products of float32 rows are made on a device; NumPy knows float32 only."""

    name: str
    input_error: float
    """Relative error of a number when it is converted for the product."""
    term_error: float
    """Error of the sum per term."""
    compute_type: str
    """The name in cuBLAS (``cublasComputeType_t``)."""

    def bound(self, dim: int) -> np.float32:
        """How far a product of two unit rows of ``dim`` numbers can be from their cosine.

        Eight extra terms allow for the rows' own lengths, which are 1 to about 1e-7, and for the comparisons.

        With 512 numbers, a pair whose TF32 product is 0.978 may have the best cosine while another has 0.982: they are
        nearer than twice the bound, so both are measured again.

        >>> f"{FLOAT32.bound(512):.6f}", f"{TF32.bound(512):.6f}"
        ('0.000031', '0.002078')
        """
        u = self.input_error
        return np.float32(2 * u + u * u + (dim + 8) * self.term_error)

    def multiply(self, left: Array, right: Array, out: Array) -> Array:
        """``out[i, j] = left[i] . right[j]``: (M, D) and (N, D) float32 rows into (M, N), which may be part of a wider one."""
        xp = array_module(out)
        if xp is np:
            # OpenBLAS also computes with what happens to lie on the stack when it multiplies few rows of 5 numbers. The
            # products are right, as it drops that part; but NumPy may warn of an invalid value. Unit rows have none.
            with np.errstate(invalid="ignore"):
                return np.matmul(left, right.T, out=out)
        return _gemm(xp, left, right, out, self.compute_type)


FLOAT32: Final = Precision("float32", 0.0, 2.0**-24, "CUBLAS_COMPUTE_32F")
TF32: Final = Precision("tf32", 2.0**-10, 2.0**-22, "CUBLAS_COMPUTE_32F_FAST_TF32")
BFLOAT16: Final = Precision("bfloat16", 2.0**-7, 2.0**-22, "CUBLAS_COMPUTE_32F_FAST_16BF")
PRECISIONS: Final = {precision.name: precision for precision in (FLOAT32, TF32, BFLOAT16)}


def rounding_bound(dim: int) -> np.float32:
    """How far a float32 dot product of unit rows of ``dim`` numbers can be from their cosine."""
    return FLOAT32.bound(dim)


def multiply_float64(left: Array, right: Array, out: Array) -> Array:
    """`Precision.multiply` for float64 rows: these products decide between candidates."""
    return array_module(out).matmul(left, right.T, out=out)


def candidate_precision(rows: Array) -> Precision:
    """The precision for finding candidates: float32 with NumPy; TF32 on a device that is found to keep its bound.

    The environment variable CURATOR_DASK_CANDIDATES (``auto``, ``float32``, ``tf32``, ``bfloat16``) chooses another one, to
    compare their speed. No result depends on it.
    """
    xp = array_module(rows)
    if xp is np:
        return FLOAT32
    asked = os.environ.get(CANDIDATES_VARIABLE, "auto")
    if asked != "auto" and asked not in PRECISIONS:
        raise ParameterError(f"{CANDIDATES_VARIABLE} ({asked!r}) must be one of auto, {', '.join(PRECISIONS)}")
    precision = TF32 if asked == "auto" else PRECISIONS[asked]
    device = xp.cuda.Device()
    if precision is FLOAT32 or int(device.compute_capability) < MIN_CAPABILITY:
        return FLOAT32
    return precision if _keeps_its_bound(xp, precision, int(device.id)) else FLOAT32


@functools.cache
def _keeps_its_bound(xp: ModuleType, precision: Precision, device_id: int) -> bool:
    """Test the precision on this device, once per process: a bound that did not hold would change decisions."""
    rows = probe_rows()
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    on_device = xp.asarray(rows)
    try:
        out = precision.multiply(on_device, on_device, xp.empty(exact.shape, dtype=np.float32))
        error = float(np.abs(out.get() - exact).max())
    except RuntimeError as trouble:  # CUBLASError and CUDARuntimeError are subclasses
        logger.warning("device %d does not multiply in %s (%s): float32 is used", device_id, precision.name, trouble)
        return False
    if error <= precision.bound(PROBE_DIM):
        return True
    logger.warning("products in %s are off by %.2g on device %d: float32 is used", precision.name, error, device_id)
    return False


def probe_rows() -> Any:
    """(48, 1024) float32 unit rows whose products show how a device rounds.

    A third are random. A third lose as much as possible where numbers are truncated (all their bits are ones) or rounded
    (just below the middle of two numbers), all with one sign, so that the errors add up. A third mix both kinds.
    """
    random = np.random.default_rng(0)
    third = PROBE_ROWS // 3
    rows = random.standard_normal((PROBE_ROWS, PROBE_DIM))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    # Just below the next number of 7, 8, 9, 11 and 12 significant bits.
    worst = [1 + 2.0**-bit - 2.0**-23 for bit in (6, 7, 8, 10, 11)]
    rows[third : 2 * third] = np.resize(worst, third)[:, None] / np.sqrt(PROBE_DIM)
    rows[2 * third :] = random.choice(worst, (PROBE_ROWS - 2 * third, PROBE_DIM)) / np.sqrt(PROBE_DIM)
    return rows.astype(np.float32)


def _gemm(xp: ModuleType, left: Array, right: Array, out: Array, compute_type: str) -> Array:
    """The product by cuBLAS in a given precision: `cupy.matmul` takes it from a setting of the whole process (CUPY_TF32).

    cuBLAS stores matrices by columns, so it sees the transposes: ``out.T = right @ left.T``.
    """
    cublas, real = xp.cuda.cublas, xp.cuda.runtime.CUDA_R_32F
    (num_rows, dim), num_columns = left.shape, right.shape[0]
    if out.size == 0:
        return out
    one, zero = np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
    cublas.gemmEx(
        xp.cuda.device.get_cublas_handle(), cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, num_columns, num_rows, dim,
        one.ctypes.data, right.data.ptr, real, _stride(right), left.data.ptr, real, _stride(left),
        zero.ctypes.data, out.data.ptr, real, _stride(out), getattr(cublas, compute_type), cublas.CUBLAS_GEMM_DEFAULT,
    )  # fmt: skip
    return out


def _stride(matrix: Array) -> int:
    """How many numbers lie from one row to the next. Raises ValueError if the numbers of a row are not adjacent."""
    if matrix.strides[1] != matrix.itemsize and matrix.shape[1] > 1:
        raise ValueError(f"a matrix of strides {matrix.strides} does not lie row by row")
    return max(int(matrix.strides[0]) // int(matrix.itemsize), int(matrix.shape[1]))
