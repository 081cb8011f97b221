"""Keep Arrow from importing pandas before somebody uses it: that takes a quarter of a second and 48 MB in every process.

Arrow imports pandas when it makes its first array or scalar, to know whether it was given an object of pandas. Where nobody
has imported pandas there are no such objects. So Arrow has its look while pandas cannot be found. As soon as pandas is
imported, by whomever, Arrow looks again. Nothing changes for a process that has imported pandas already.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PANDAS = "pandas"
_lock = threading.Lock()


def leave_pandas_for_later() -> None:
    """Have Arrow do without pandas in this process until somebody imports it.

    Until then Arrow cannot give times of nanoseconds as Python values. So this is for processes of our own, and not for those
    of a user of the library, who may ask Arrow for them.
    """
    import pyarrow.lib

    with _lock:
        is_ours = any(isinstance(finder, _LatePandas) for finder in sys.meta_path)
        if PANDAS not in sys.modules and not is_ours and hasattr(pyarrow.lib, "_pandas_api"):
            finder = _LatePandas()
            sys.meta_path.insert(0, finder)
            finder.hide_from_arrow()


def dask_setup(_worker: Any) -> None:
    """What Dask calls in a worker that starts with this module."""
    leave_pandas_for_later()


class _LatePandas(MetaPathFinder):
    """Finds pandas where Python finds it, but for the one time that Arrow looks for it. Arrow is told when it is imported.

    It is never taken out of the list of finders: another thread that goes through the list would miss the one behind it.
    """

    def __init__(self) -> None:
        self._hidden_from: int | None = None

    def hide_from_arrow(self) -> None:
        """Have Arrow look for pandas in this thread, in vain."""
        import pyarrow as pa

        self._hidden_from = threading.get_ident()
        try:
            pa.scalar(0)
        finally:
            self._hidden_from = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != PANDAS:
            return None
        if threading.get_ident() == self._hidden_from:
            raise ModuleNotFoundError("pandas is for later", name=PANDAS)
        others = [one for one in sys.meta_path if one is not self and hasattr(one, "find_spec")]
        spec = next(filter(None, (one.find_spec(name, path, target) for one in others)), None)
        if spec is not None and spec.loader is not None:
            _tell_arrow_after(spec.loader)
        return spec


def _tell_arrow_after(loader: Loader) -> None:
    """Have Arrow look again once this loader has made the module."""
    make = loader.exec_module

    def execute(module: ModuleType) -> None:
        make(module)
        if module.__name__ == PANDAS:  # a loader may serve several modules
            _look_again()

    setattr(loader, "exec_module", execute)  # noqa: B010  a type checker takes an assignment for a mistake


def _look_again() -> None:
    import pyarrow.lib

    with contextlib.suppress(ImportError):  # a pandas that is too old for Arrow
        pyarrow.lib._pandas_api.pd  # noqa: B018  it is looked for now, where it was not found before
