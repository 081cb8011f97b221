"""Open an ONNX file with onnxruntime and run it. Every error of the library becomes one of ours.

One thread: a worker has one core, and sums then come in one order. No library of custom operators is ever registered, so a
model that needs one is refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curator_dask.errors import DeviceError, ModelError
from curator_dask.models.onnx.files import load_library

_FATAL = 4
_OUT_OF_MEMORY = re.compile(r"allocate memory|bad_alloc|bad allocation|out of memory|BFCArena", re.IGNORECASE)


class Tensor(NamedTuple):
    """An input or output of a model as its file describes it."""

    name: str
    type: str
    """``tensor(float)`` and the like."""
    shape: tuple[int | str | None, ...]
    """Lengths; a name or None where any length will do."""


class Session:
    """An open model."""

    def __init__(self, path: Path, device: str) -> None:
        self._path = path
        providers = _providers(device)
        runtime = load_library("onnxruntime")
        with self._errors("cannot be loaded"):
            self._session = runtime.InferenceSession(str(path), _options(runtime), providers=providers)
        if device != "cpu" and providers[0][0] not in self._session.get_providers():
            raise DeviceError(f"onnxruntime cannot use the device {device!r} for {path}; see its CUDA version")

    def inputs(self) -> list[Tensor]:
        return [Tensor(one.name, one.type, tuple(one.shape)) for one in self._session.get_inputs()]

    def outputs(self) -> list[Tensor]:
        return [Tensor(one.name, one.type, tuple(one.shape)) for one in self._session.get_outputs()]

    def run(self, input_name: str, pixels: Any, output_name: str) -> Any:
        """The array of one output. Raises ModelError if the model fails, DeviceError if memory runs out."""
        with self._errors("cannot be run"):
            return self._session.run([output_name], {input_name: pixels})[0]

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a broken file can cause any error
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(said):
                raise DeviceError(f"{self._path} does not fit into memory: {said}") from error
            raise ModelError(f"{self._path} {what} by onnxruntime: {said}") from error


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL  # errors come as exceptions, and need not stand on the terminal too
    return options


def _providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """What onnxruntime computes with on a device of torch's name. Raises DeviceError where it cannot."""
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if device == "cpu":
        return [cpu]
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"onnxruntime cannot use the device {device!r}: give cpu, cuda or cuda:1")
    there = load_library("onnxruntime").get_available_providers()
    if "CUDAExecutionProvider" not in there:
        raise DeviceError(
            f"this onnxruntime cannot use {device}, only {', '.join(there)}: install onnxruntime-gpu in its place, or run "
            "the model on the CPU with --torch-device cpu"
        )
    # Else it chooses convolutions by trial, and multiplies with 10 bits of precision.
    exact = {"device_id": int(match[1] or 0), "cudnn_conv_algo_search": "DEFAULT", "use_tf32": 0}
    return [("CUDAExecutionProvider", exact), cpu]
