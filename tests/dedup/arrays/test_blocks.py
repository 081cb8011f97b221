from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from curator_dask.dedup.arrays import blocks
from curator_dask.dedup.arrays.blocks import over_blocks


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    np.ones((2, 2)) @ np.ones((2, 2))
    blocks._blas.cache_clear()  # tests before this one may have loaded the BLAS of SciPy, after NumPy's was looked up
    with threadpool_limits(2, "blas"):
        yield


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_every_block_is_done_once(count):
    done = []
    over_blocks(done.extend, range(count))
    assert sorted(done) == list(range(count))


def test_as_many_threads_as_blas_has_each_with_a_blas_of_one():
    met = threading.Barrier(2, timeout=60)
    seen = []

    def work(given: Iterator[int]) -> None:
        for _ in given:
            met.wait()  # ends only if two threads have a block each
            seen.append((threading.get_ident(), blas_threads()))

    over_blocks(work, range(2))
    assert len({thread for thread, _ in seen}) == 2
    assert [threads for _, threads in seen] == [{1}, {1}]
    assert blas_threads() == {2}


def test_one_thread_stays_where_it_is():
    with threadpool_limits(1, "blas"):
        threads: list[int] = []
        over_blocks(lambda given: threads.extend(threading.get_ident() for _ in given), range(5))
    assert set(threads) == {threading.get_ident()}


def test_an_error_is_raised_and_the_limit_goes_back():
    def work(given: Iterator[int]) -> None:
        for block in given:
            if block == 3:
                raise ValueError("block 3")

    with pytest.raises(ValueError, match="block 3"):
        over_blocks(work, range(10))
    assert blas_threads() == {2}


def test_callers_within_and_beside_one_another_leave_the_limit_as_it_was():
    done: list[int] = []

    def work(given: Iterator[int]) -> None:
        for _ in given:
            over_blocks(done.extend, range(3))

    with ThreadPoolExecutor(6) as pool:
        for call in [pool.submit(over_blocks, work, range(20)) for _ in range(30)]:
            call.result()
    assert len(done) == 30 * 20 * 3
    assert blas_threads() == {2}
