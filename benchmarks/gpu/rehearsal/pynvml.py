"""Stands for NVML in a rehearsal: one device."""

from __future__ import annotations

from types import SimpleNamespace


class NVMLError(Exception):
    """What NVML raises."""


def nvmlInit() -> None:  # noqa: N802
    pass


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return 1


def nvmlDeviceGetHandleByIndex(number: int) -> int:  # noqa: N802
    return number


def nvmlDeviceGetMemoryInfo(_: int) -> SimpleNamespace:  # noqa: N802
    return SimpleNamespace(used=1 << 20, free=1 << 30, total=(1 << 30) + (1 << 20))


def nvmlSystemGetDriverVersion() -> str:  # noqa: N802
    return "none"
