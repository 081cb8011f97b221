"""Devices that work, and batches that shrink when memory runs out."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import DeviceError
from curator_dask.models.device import Batches, is_out_of_memory, usable_device


def doubling(most):
    """A function that doubles at most `most` numbers at a time, and the list of sizes that it was called with."""
    sizes = []

    def double(items):
        sizes.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [2 * item for item in items]

    return double, sizes


def test_batches_are_halved_for_good():
    double, sizes = doubling(most=3)
    batches = Batches(16)
    assert batches.run(double, range(10)) == list(range(0, 20, 2))
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    assert batches.run(double, range(5)) == [0, 2, 4, 6, 8]
    assert sizes[7:] == [2, 2, 1]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(), max_size=50))
def test_no_item_is_lost_or_doubled(size, most, items):
    double, sizes = doubling(most)
    assert Batches(size).run(double, items) == [2 * item for item in items]
    assert sum(size for size in sizes if size <= most) == len(items)


def test_memory_that_does_not_take_one_clip():
    double, _ = doubling(most=0)
    with pytest.raises(DeviceError, match="single clip: CUDA out of memory"):
        Batches(4).run(double, [1, 2, 3])


def test_memory_of_the_machine_itself():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_other_errors_are_passed_on():
    def fail(items):
        raise RuntimeError("shapes do not fit")

    batches = Batches(4)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        batches.run(fail, [1, 2])
    assert batches.size == 4


def test_what_a_failed_batch_held_is_free_when_the_next_begins():
    held, alive = [], []

    def hold(items):
        gc.collect()
        alive.append([reference() is not None for reference in held])
        tensor = torch.zeros(len(items))
        held.append(weakref.ref(tensor))
        if len(items) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return tensor.tolist()

    Batches(4).run(hold, [1, 2, 3, 4])
    assert not any(any(references) for references in alive)


@pytest.mark.parametrize("device", ["nonesuch", "cuda:99"])
def test_devices_that_are_not_there(device):
    with pytest.raises(DeviceError, match=f"cannot use the device '{device}'"):
        usable_device(device)


def test_the_device_that_is_always_there():
    assert usable_device("cpu") == torch.device("cpu")
