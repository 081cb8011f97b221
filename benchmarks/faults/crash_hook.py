"""A process that kills itself at one exact call, as the plan of a crash says; used in the run and in its workers.

The calls are those that give a file its name: every file of an output becomes visible by one of them. They are counted
over all processes, by the length of a file.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAN_VARIABLE = "CURATOR_DASK_FAULTS_CRASH"
"""The file of the plan: ``below`` (a folder), ``at`` (the number of the call, from 1) and ``when``."""
BEFORE, HALF, AFTER = "before", "half written", "after"
"""When the process ends: before the call, before it with the file cut to its half, or after it."""


def install() -> None:
    """Guard the calls of this process. It must come before the package is imported, which keeps some of them as defaults."""
    for name in ("replace", "rename", "link"):
        setattr(os, name, _guarded(getattr(os, name)))


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(source: Any, target: Any, **options: Any) -> Any:
        if PLAN_VARIABLE not in os.environ:
            return call(source, target, **options)
        plan = Path(os.environ[PLAN_VARIABLE])
        asked = json.loads(plan.read_bytes())
        if not os.fspath(target).startswith(asked["below"]) or _count(plan) != asked["at"]:
            return call(source, target, **options)
        return _die(asked["when"], call, source, target, options)

    return guarded


def _count(plan: Path) -> int:
    """Which call this is, over all processes."""
    descriptor = os.open(plan.with_suffix(".calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _die(when: str, call: Callable[..., Any], source: Any, target: Any, options: dict[str, Any]) -> None:
    if when == HALF and Path(source).is_file():
        os.truncate(source, Path(source).stat().st_size // 2)
    if when == AFTER:
        call(source, target, **options)
    os.kill(os.getpid(), signal.SIGKILL)
