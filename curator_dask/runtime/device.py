"""CPU or GPU: find out which one is there."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from curator_dask.errors import DeviceError, ParameterError

DEVICES = ("auto", "cpu", "gpu")
DEVICE_VARIABLE = "CURATOR_DASK_BACKEND"
TF32_VARIABLE = "CUPY_TF32"
_RAPIDS = ("cudf", "cupy", "dask_cuda")


def resolve_device(device: str = "auto") -> str:
    """``"cpu"`` or ``"gpu"``.

    ``auto`` takes a GPU if a driver, a visible device and RAPIDS are all there. Where the argument is ``auto``, the
    environment variable CURATOR_DASK_BACKEND decides if it is set. Raises DeviceError if a GPU is asked for and is not
    there, or if CuPy is told to round its products more than our error bounds allow.
    """
    asked_by = "device"
    if device == "auto":
        asked_by, device = DEVICE_VARIABLE, os.environ.get(DEVICE_VARIABLE, "auto")
    if device not in DEVICES:
        raise ParameterError(f"{asked_by} ({device!r}) must be one of {', '.join(DEVICES)}")
    if device == "cpu":
        return "cpu"
    missing = why_no_gpu()
    if device == "gpu" and missing:
        raise DeviceError(f"a GPU was asked for (--device gpu), but {missing}. Use --device cpu, or auto")
    if not missing and os.environ.get(TF32_VARIABLE, "0") not in ("", "0"):
        raise DeviceError(
            f"{TF32_VARIABLE} is set, which makes all products of CuPy less exact than the labels of clusters allow: unset "
            "it. Where TF32 is safe it is used by itself"
        )
    return "cpu" if missing else "gpu"


def why_no_gpu() -> str | None:
    """What is missing for GPU work, as half a sentence; None if nothing is.

    The driver itself is asked, as libraries can be imported without any device.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every device"
    absent = [name for name in _RAPIDS if importlib.util.find_spec(name) is None]
    if absent:
        return f"{', '.join(absent)} cannot be imported (pip install 'curator_dask[cuda12]', or [cuda13])"
    try:
        import pynvml  # comes with dask_cuda
    except ImportError:
        return "pynvml cannot be imported (pip install nvidia-ml-py)"
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return f"the NVIDIA driver does not answer ({error})"
    return None if count else "the NVIDIA driver sees no device"


def to_device(array: Any, device: str) -> Any:
    """Bring a NumPy array to where the arithmetic runs: the array itself on the CPU, a CuPy copy on a GPU."""
    if device == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def torch_device(device: str, *, light: bool = False) -> str:
    """The ``torch_device`` of a model on workers with this device: ``"cuda"`` on GPU workers, else ``"cpu"``.

    Args:
        light: whether the model needs no GPU (`EmbeddingModel.light`) and stays on the CPU.

    Raises:
        DeviceError: the workers have GPUs, and torch is a build without CUDA.
    """
    if device == "cpu" or light:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        built = "built without CUDA" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        raise DeviceError(
            f"the workers have GPUs, but torch {torch.__version__} ({built}) cannot use them. "
            "Install a build for the driver's CUDA (https://pytorch.org), or use --torch-device cpu"
        )
    return "cuda"


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """The free memory of a GPU worker, in bytes."""

    device_free: int
    device_total: int
    host_free: int


def worker_memory() -> WorkerMemory:
    """On a GPU worker: the free memory of its device and of its machine.

    Raises DeviceError if the process has no device of its own, as is the case for a plain ``dask worker``.
    """
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        raise DeviceError(
            "a worker has no CUDA_VISIBLE_DEVICES: start GPU workers with 'dask cuda worker' instead of 'dask worker'"
        )
    import cupy
    import psutil

    try:
        free, total = cupy.cuda.runtime.memGetInfo()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"a worker cannot use its GPU: {error}") from error
    return WorkerMemory(int(free), int(total), int(psutil.virtual_memory().available))
