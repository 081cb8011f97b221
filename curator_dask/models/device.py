"""Check that torch can use a device, and run batches that fit into its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from curator_dask.errors import DeviceError

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_device(device: str) -> torch.device:
    """The torch device named `device`. Raises DeviceError if torch cannot use it."""
    import torch

    try:
        usable = torch.device(device)
        torch.zeros(1, device=usable)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"torch cannot use the device {device!r}: {error}") from error
    return usable


def device_of(device: str) -> torch.device | str:
    """As `usable_device`, but the processor is taken as it is: torch takes a second or more to load, and a client that
    asks a model for its parameters alone needs nothing of it."""
    return device if device == "cpu" else usable_device(device)


class Batches:
    """Calls a function with batches of at most `size` items; halves it for good whenever memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, function: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
        """The results for all items, in order. Raises DeviceError if a single item does not fit into memory."""
        import torch

        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            try:
                results += function(batch)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise DeviceError(f"memory runs out with a single clip: {error}") from error
            # This stands outside the except clause, where the traceback would keep the tensors alive.
            self.size = len(batch) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return results


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU or the machine ran out of memory; torch has no type of its own for the latter."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
