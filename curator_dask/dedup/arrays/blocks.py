"""Blocks of rows on all the threads that BLAS was given, each thread with a BLAS of its own.

A BLAS that spreads one product over its threads leaves all but one of them idle in what comes between two products.
So here every thread takes blocks off one list until none is left, and does all of a block's work itself. How many
threads there are is BLAS's own limit: the cores of a process that is alone, one where Dask runs a process a core.
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
    thread. An exception in one thread is raised here once the others have come to their end.
    """
    listed = list(blocks)
    with _one_blas_thread_each() as num_threads:
        shared = iter(listed)  # of a list: two threads never get the same element
        num_threads = min(num_threads, len(listed))
        if num_threads <= 1:
            work(shared)
            return
        with ThreadPoolExecutor(num_threads) as pool:
            for done in [pool.submit(work, shared) for _ in range(num_threads)]:
                done.result()


@contextlib.contextmanager
def _one_blas_thread_each() -> Iterator[int]:
    """How many threads to start: BLAS's limit, which is 1 within the block. A nested or a second caller finds 1."""
    controller, limited = _blas(), None
    with _limiting:  # or two callers would both take the other's limit for the one to go back to
        num_threads: int = max((library.num_threads for library in controller.lib_controllers), default=1)
        if num_threads > 1:
            limited = controller.limit(limits=1)
    try:
        yield num_threads
    finally:
        if limited is not None:
            limited.restore_original_limits()


@functools.cache
def _blas() -> Any:
    """The loaded BLAS libraries. Looked for once, as that takes milliseconds; NumPy has brought its own by then."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
