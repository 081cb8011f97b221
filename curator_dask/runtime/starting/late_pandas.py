"""Keep Arrow from importing pandas before somebody uses it: that takes a quarter of a second and 48 MB in every process.

Arrow imports pandas when it makes its first array or scalar, to know whether it was given an object of pandas. Where nobody
has imported pandas there are no such objects. So Arrow has its look while pandas cannot be found. As soon as pandas is
imported, by whomever, Arrow looks again. Nothing changes for a process that has imported pandas already.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PANDAS = "pandas"
_lock = threading.Lock()


def leave_pandas_for_later() -> None:
    """Have Arrow do without pandas in this process until somebody imports it."""
    with _lock:
        if PANDAS not in sys.modules and not any(isinstance(finder, _TellsArrow) for finder in sys.meta_path):
            _look_in_vain()
            sys.meta_path.insert(0, _TellsArrow())


def dask_setup(_worker: Any) -> None:
    """What Dask calls in a worker that starts with this module."""
    leave_pandas_for_later()


def _look_in_vain() -> None:
    import pyarrow as pa

    hidden = _NotThere()
    sys.meta_path.insert(0, hidden)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(hidden)


class _NotThere(MetaPathFinder):
    """Finds no pandas for the thread that made it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == PANDAS and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is for later", name=PANDAS)


class _TellsArrow(MetaPathFinder):
    """Finds pandas where Python finds it, and has Arrow look again once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != PANDAS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader = spec.loader

            def execute(module: ModuleType) -> None:
                type(loader).exec_module(loader, module)
                _look_again()

            setattr(loader, "exec_module", execute)  # noqa: B010  a type checker takes an assignment for a mistake
        return spec


def _look_again() -> None:
    import pyarrow.lib

    pyarrow.lib._pandas_api.pd  # noqa: B018  it is looked for now, where it was not found before
