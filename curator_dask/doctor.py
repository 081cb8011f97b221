"""Checks what the stages need on this machine: a list of findings, each with advice if something is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curator_dask._version import __version__
from curator_dask.errors import CuratorError
from curator_dask.runtime.device import why_no_gpu

Level = Literal["ok", "note", "fault"]

_PACKAGES = ("dask", "distributed", "pandas", "pyarrow", "numpy", "torch")
_RAPIDS = ("cudf", "cuml", "cupy", "dask-cuda", "dask-cudf", "rmm")
_ENCODERS = ("libopenh264", "libx264", "h264_nvenc")
WITHOUT_NVENC = ("A100", "A30", "H100", "H200")
"""Parts of the names of GPUs that have no video encoder (NVIDIA's video encode and decode support matrix)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    level: Level
    text: str
    """The finding; with advice if `level` is not ``ok``."""


def examine() -> list[Finding]:
    """Examine Python, ffmpeg, memory, GPU and RAPIDS. Starts ffmpeg shortly; changes nothing."""
    return [*_software(), *_machine(), *_ffmpeg(), *_decord(), *_torch(), *_gpu(), *_rapids()]


def _software() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("curator_dask", "ok", f"{__version__}, Python {platform.python_version()}, {system}")
    yield Finding("packages", "ok", ", ".join(f"{name} {_version(name) or 'missing'}" for name in _PACKAGES))
    in_virtual = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
    if not in_virtual:
        yield Finding("environment", "note", "no virtual environment is active: other packages may interfere")


def _machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("processor", "ok", f"{cores} cores for this process")
    level: Level = "ok" if memory.available > 2 << 30 else "note"
    yield Finding("memory", level, f"{_gib(memory.available)} free of {_gib(memory.total)}")
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", "ok" if free > 10 << 30 else "note", f"{_gib(free)} free in {Path.cwd()}")


def _ffmpeg() -> Iterator[Finding]:
    from curator_dask.video.process.ffmpeg import encoder_failure, ffmpeg_path, ffmpeg_version

    try:
        yield Finding("ffmpeg", "ok", f"{ffmpeg_version().split(' Copyright')[0]} ({ffmpeg_path()})")
    except CuratorError as error:
        yield Finding("ffmpeg", "fault", str(error))
        return
    for name in _ENCODERS:
        failure = encoder_failure(name)
        needed = name == "libopenh264"
        told = "works" if failure is None else f"does not work here: {failure}"
        if failure and needed:
            told += "; it is the default encoder, so choose another with --transcode-encoder"
        yield Finding(f"encoder {name}", "ok" if failure is None else "fault" if needed else "note", told)


def _decord() -> Iterator[Finding]:
    version = _version("decord")
    told = version or "missing (no build for this platform?): ffmpeg reads the clips instead, more slowly"
    yield Finding("decord", "ok" if version else "note", told)


def _torch() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("torch", "ok", f"{torch.__version__} with CUDA {torch.version.cuda}")
    else:
        yield Finding("torch", "note", f"{torch.__version__}: sees no CUDA device, models run on the CPU")


def _gpu() -> Iterator[Finding]:
    missing = why_no_gpu()
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # no library, no driver or a broken driver
        yield Finding("gpu", "note", f"none: {missing or error}. Everything runs on the CPU")
        return
    try:
        yield Finding("driver", "ok", f"{_text(pynvml.nvmlSystemGetDriverVersion())}, {_cuda_version(pynvml)}")
        for index in range(pynvml.nvmlDeviceGetCount()):
            yield from _device(pynvml, index)
    finally:
        pynvml.nvmlShutdown()
    if missing:
        yield Finding("gpu stages", "note", f"the CPU is used: {missing}")


def _device(pynvml: Any, index: int) -> Iterator[Finding]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name, memory = _text(pynvml.nvmlDeviceGetName(handle)), pynvml.nvmlDeviceGetMemoryInfo(handle)
    yield Finding(f"gpu {index}", "ok", f"{name}, {_gib(memory.free)} free of {_gib(memory.total)}")
    if any(part in name for part in WITHOUT_NVENC):
        yield Finding(f"gpu {index}", "note", f"{name} has no video encoder (NVENC): use libopenh264, on the CPU")


def _rapids() -> Iterator[Finding]:
    found = {name: _rapids_version(name) for name in _RAPIDS}
    if not any(found.values()):
        yield Finding("rapids", "note", "not installed: pip install 'curator_dask[cuda12]', or [cuda13]")
        return
    absent = [name for name, version in found.items() if version is None]
    told = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    yield Finding("rapids", "note" if absent else "ok", told + (f"; missing: {', '.join(absent)}" if absent else ""))


def _rapids_version(name: str) -> str | None:
    """The version of a RAPIDS package, whose wheels have the CUDA version in their names."""
    suffixes = ("", "-cu12", "-cu13", "-cuda12x", "-cuda13x")
    return next((version for suffix in suffixes if (version := _version(name + suffix))), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda_version(pynvml: Any) -> str:
    version = pynvml.nvmlSystemGetCudaDriverVersion()
    return f"CUDA up to {version // 1000}.{version % 1000 // 10}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
