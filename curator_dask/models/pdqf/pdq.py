"""PDQ is a perceptual hash of a picture; PDQF is the 256 numbers from which its bits are taken. Batched, in torch.

The method is that of Facebook's ThreatExchange, "PDQ" (hashing.pdf there). A picture becomes a 64x64 luminance buffer
(two passes of a box filter each way, then every n-th sample). The descriptor is the buffer's 16x16 discrete cosine
transform without the constant term.

The transform is exact arithmetic on whole numbers that float64 carries: samples and cosines are rounded to so few binary
places that every product and every sum fits into 53 bits. So no sum is ever rounded, and the order of summation does not
matter: a picture has the same descriptor, bit for bit, in any batch, with any number of threads, on any CPU or GPU. The
rounding costs an error below 2e-4, a tenth of the error that float32 causes in the reference.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curator_dask.errors import ParameterError

if TYPE_CHECKING:
    import torch

SIDE = 64
"""Height and width of the luminance buffer."""
NUM_FREQUENCIES = 16
DIMENSION = NUM_FREQUENCIES**2
MIN_SIDE = 5
"""A picture with a shorter side has no descriptor: it gets zeros, and quality 0."""
MIN_NORM = 1e-2
"""A descriptor of a lower norm is rounding noise: the picture is flat, or changes along one axis only."""
PDQF_STEP = 2.0**-16
"""Descriptor numbers are whole multiples of this."""

# Budget of the exact transform D X D^T: |X| < 2^8, |D| <= 2^-2.5, so |D X| < 2^11.5 and |D X D^T| < 2^15.
# First product: 11.5 + 14 + 27 = 52.5 bits; second: 15 + 16 + 22 = 53 bits.
_BUFFER_BITS = 14
_COLUMN_BITS = 27
_MIDDLE_BITS = 16
_ROW_BITS = 22
_LUMA_WEIGHTS = (0.299, 0.587, 0.114)
_BLOCK_FRAMES_CPU = 64  # 64 frames of 64x64 in float64 stay in the cache: twice as fast as 256
_BLOCK_FRAMES_GPU = 4096


@dataclass(frozen=True, slots=True)
class Descriptors:
    """PDQF and quality of N pictures."""

    pdqf: torch.Tensor
    """(N, 256) float64, multiples of 2**-16 below 2**15; 16x16 row-major, rows are vertical frequencies 1 to 16."""
    quality: torch.Tensor
    """(N,) int64, 0 to 100: the amount of gradient. A picture below 50 is too plain to be matched."""


def describe_frames(frames: torch.Tensor) -> Descriptors:
    """Compute PDQF and quality of (N, H, W, 3) uint8 RGB frames on any device, block by block to save memory."""
    import torch

    _require_frames(frames)
    pdqf = torch.empty(len(frames), DIMENSION, dtype=torch.float64, device=frames.device)
    qualities = torch.empty(len(frames), dtype=torch.int64, device=frames.device)
    block_frames = _BLOCK_FRAMES_CPU if frames.device.type == "cpu" else _BLOCK_FRAMES_GPU
    for start in range(0, len(frames), block_frames):
        block = slice(start, start + block_frames)
        buffers = frames_to_buffers(frames[block])
        pdqf[block] = transform(buffers).flatten(1)
        qualities[block] = quality(buffers)
    return Descriptors(pdqf, qualities)


def frames_to_buffers(frames: torch.Tensor) -> torch.Tensor:
    """The (N, 64, 64) float32 luminance buffers of (N, H, W, 3) uint8 RGB pictures."""
    import torch

    _require_frames(frames)
    height, width = frames.shape[1:3]
    if (height, width) == (SIDE, SIDE):
        return luma(frames)
    if min(height, width) < MIN_SIDE:
        return torch.zeros(len(frames), SIDE, SIDE, device=frames.device)
    rows = torch.from_numpy(_shrink_matrix(height)).to(frames.device)
    columns = torch.from_numpy(_shrink_matrix(width)).to(frames.device)
    return (rows @ luma(frames).double() @ columns.T).float()


def luma(frames: torch.Tensor) -> torch.Tensor:
    """(N, H, W) float32 luminance, 0 to 255, of (N, H, W, 3) uint8 RGB: .299 R + .587 G + .114 B."""
    red, green, blue = (frames[..., channel].float() * weight for channel, weight in enumerate(_LUMA_WEIGHTS))
    return red + green + blue


def quality(buffers: torch.Tensor) -> torch.Tensor:
    """The (N,) int64 quality, 0 to 100, of (N, 64, 64) float32 buffers: a sum of truncated neighbour differences."""
    import torch

    total = torch.zeros(len(buffers), dtype=torch.int64, device=buffers.device)
    for axis in (1, 2):
        steps = (buffers.diff(dim=axis) * 100 / 255).trunc().abs()
        total += steps.long().sum(dim=(1, 2))
    return (total // 90).clamp(max=100)


def transform(buffers: torch.Tensor) -> torch.Tensor:
    """The (N, 16, 16) float64 cosine transform of (N, 64, 64) float32 buffers within 0 to 255, exact (see the module)."""
    import torch

    column_cosines, row_cosines = (torch.from_numpy(matrix).to(buffers.device) for matrix in _cosines())
    samples = _round_to(buffers.double(), 2.0**-_BUFFER_BITS)
    middle = _round_to(column_cosines @ samples, 2.0**-_MIDDLE_BITS)
    return _round_to(middle @ row_cosines.T, PDQF_STEP)


def has_texture(pdqf: torch.Tensor) -> torch.Tensor:
    """(N,) bool: whether each of (N, 256) descriptors has a norm of at least 0.01. Below, its signs mean nothing."""
    # Squares of numbers clamped to 1 are multiples of 2**-32, so their sum is exact and the same everywhere.
    return pdqf.clamp(-1, 1).square().sum(dim=-1) >= MIN_NORM**2


def hash_bits(coefficients: torch.Tensor) -> torch.Tensor:
    """(..., 256) bool: whether each of (..., 16, 16) coefficients exceeds the lower of the two middle values."""
    flat = coefficients.flatten(-2)
    median = flat.kthvalue(DIMENSION // 2, dim=-1, keepdim=True).values
    return flat > median


def hash_hex(bits: torch.Tensor) -> str:
    """The 64 hex digits of (256,) bits as PDQ writes them: the first digit holds the highest frequencies."""
    return np.packbits(bits.cpu().numpy()[::-1]).tobytes().hex()


def dihedral(coefficients: torch.Tensor) -> torch.Tensor:
    """(N, 8, 16, 16) coefficients of the eight turned and mirrored versions of each picture, from its own (N, 16, 16).

    The order is: original, rotated by 90, 180, 270 degrees, upside down, mirrored, transposed, anti-transposed.
    """
    import torch

    index = torch.arange(NUM_FREQUENCIES, device=coefficients.device)
    odd_rows = torch.where(index % 2 == 0, -1.0, 1.0).to(coefficients.dtype)[:, None]
    odd_columns = odd_rows.T
    checker = odd_rows * odd_columns
    turned = coefficients.transpose(-1, -2)
    variants = (
        *(coefficients, turned * odd_rows, coefficients * checker, turned * odd_columns),
        *(coefficients * odd_rows, coefficients * odd_columns, turned, turned * checker),
    )
    return torch.stack(variants, dim=1)


@functools.cache
def _cosines() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The (16, 64) cosines of frequencies 1 to 16, twice: rounded for the first product, and for the second."""
    frequency, sample = np.arange(1, NUM_FREQUENCIES + 1)[:, None], np.arange(SIDE)[None, :]
    matrix = math.sqrt(2 / SIDE) * np.cos(math.pi / (2 * SIDE) * frequency * (2 * sample + 1))
    first, second = (np.round(matrix * 2.0**bits) / 2.0**bits for bits in (_COLUMN_BITS, _ROW_BITS))
    return first, second


@functools.lru_cache(maxsize=16)
def _shrink_matrix(length: int) -> npt.NDArray[np.float64]:
    """The (64, length) matrix that applies the box filter twice, then samples the middles of 64 equal parts.

    The reference filters rows, columns, rows, columns. These steps are linear and act on different axes, so each axis
    can be filtered by itself.
    """
    sampled = ((np.arange(SIDE) + 0.5) * length / SIDE).astype(np.int64)
    rows = np.zeros((SIDE, length))
    rows[np.arange(SIDE), sampled] = 1.0
    return _times_box(_times_box(rows))


def _times_box(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Multiply ``rows`` (n, length) by the box filter's matrix. Its entry [k, j] is 1 / (size of k's window) for j in it.

    Windows are cut at the borders. The matrix is not built: (length, length) is half a gigabyte for 8K pictures.
    """
    length = rows.shape[1]
    window = (length + 127) // 128
    ahead = (window + 2) // 2
    position = np.arange(length)
    sizes = np.minimum(position + ahead, length) - np.maximum(position + ahead - window, 0)
    shares, product = rows / sizes, np.zeros_like(rows)
    for offset in range(ahead - window, ahead):
        product[:, max(offset, 0) : length + min(offset, 0)] += shares[:, max(-offset, 0) : length - max(offset, 0)]
    return product


def _round_to(values: torch.Tensor, step: float) -> torch.Tensor:
    return (values / step).round_() * step


def _require_frames(frames: torch.Tensor) -> None:
    import torch

    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ParameterError(f"frames must be (N, H, W, 3) uint8, not {tuple(frames.shape)} {frames.dtype}")
