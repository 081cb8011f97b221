"""Keep workers from running the script that started them.

A spawned process imports the main module of its parent before anything else. A script without
``if __name__ == "__main__":`` would therefore start a cluster in every worker of its cluster. Dask's workers do not need
that module, since functions of it travel to them by value. So its name is left out of what a new worker is told.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any

_WORKER_NAME = "Dask Worker process"
SERVER_NAME = "Fork server of Dask workers"
_MAIN_MODULE = ("init_main_from_name", "init_main_from_path")

_lock = threading.Lock()
_clusters = 0
_original = spawn.get_preparation_data


@contextlib.contextmanager
def workers_leave_main_alone() -> Iterator[None]:
    """Within the block, Dask workers of this process (restarted ones too) start without its main module."""
    global _clusters
    with _lock:
        _clusters += 1
        spawn.get_preparation_data = _for_process
    try:
        yield
    finally:
        with _lock:
            _clusters -= 1
            if not _clusters:
                spawn.get_preparation_data = _original


def _for_process(name: str) -> dict[str, Any]:
    """Replaces `multiprocessing.spawn.get_preparation_data`."""
    data: dict[str, Any] = _original(name)
    if name.startswith((_WORKER_NAME, SERVER_NAME)):
        for key in _MAIN_MODULE:
            data.pop(key, None)
    return data
