"""Work on blocks of rows in as many threads as BLAS may use, with one BLAS thread in each.

A BLAS that spreads one product over its threads leaves all but one of them idle between two products. So here every
thread takes blocks off one list until none is left, and does all the work on a block itself. The number of threads is
BLAS's own limit: all cores where a process is alone, one where Dask runs one process per core.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
_limiting = Lock()


def over_blocks(work: Callable[[Iterator[T]], None], blocks: Iterable[T]) -> None:
    """Call ``work`` in as many threads as BLAS has, all with the same iterator, so that each block goes to one of them.

    ``work`` loops over the blocks that it is given and may keep a buffer of its own meanwhile; within it BLAS has one
    thread. An exception in one thread is raised here once the other threads have ended.

    >>> sums = np.zeros(3)
    >>> def add_up(blocks):
    ...     for rows in blocks:
    ...         sums[rows.start // 2] = np.arange(6)[rows].sum()
    >>> over_blocks(add_up, [slice(0, 2), slice(2, 4), slice(4, 6)])
    >>> sums.tolist()
    [1.0, 5.0, 9.0]
    """
    listed = list(blocks)
    with _one_blas_thread_each() as allowed:
        shared = iter(listed)  # two threads never get the same element from the iterator of a list
        count = min(allowed, len(listed))
        if count <= 1:
            work(shared)
            return
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(work, shared) for _ in range(count)]:
                done.result()


def num_threads() -> int:
    """How many threads `over_blocks` may use: BLAS's limit, 1 within its work."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@contextlib.contextmanager
def _one_blas_thread_each() -> Iterator[int]:
    """Limit BLAS to 1 thread within the block; yields its limit before. A nested or a second caller gets 1."""
    controller, limited = _blas(), None
    with _limiting:  # else two callers at once might each restore the limit that the other one set
        allowed = num_threads()
        if allowed > 1:
            limited = controller.limit(limits=1)
    try:
        yield allowed
    finally:
        if limited is not None:
            limited.restore_original_limits()


@functools.cache
def _blas() -> Any:
    """The loaded BLAS libraries. They are looked up once, as that takes milliseconds; NumPy has loaded its own by then."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
