"""Load weight files into networks that this package defines. No code in a file is ever run.

A ``.safetensors`` file can only hold numbers. A ``.pt`` file is a pickle; torch is told to accept only tensors and plain
containers from it, and there is no fallback to unsafe loading. Both kinds are memory-mapped, not read whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from curator_dask.errors import DeviceError, ModelError
from curator_dask.models.device import is_out_of_memory
from curator_dask.models.local_folder import INSTALL

Shape: TypeAlias = tuple[int, ...]

_CONTAINERS = ("model", "module")
"""Training frameworks keep the weights of a checkpoint under these keys, tried in order; else the checkpoint is the weights."""
_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_NUM_NAMED = 10


@dataclass(frozen=True)
class Weights:
    """An open weight file. A tensor is only read when it is asked for."""

    path: Path
    shapes: Mapping[str, Shape]
    """The shapes of all tensors in the file, by name."""
    read: Callable[[str], torch.Tensor]


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[Weights]:
    """Open a ``.safetensors`` file, or a file of any other name as ``torch.save`` writes it (the zip format).

    A checkpoint may hold its tensors at the top level, or under ``model`` or ``module``. Raises ModelError
    for files that are missing, damaged, or hold more than tensors in plain containers.
    """
    if not path.is_file():
        raise ModelError(f"there is no weight file {path}")
    if path.suffix == ".safetensors":
        with _open_safetensors(path) as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no dictionary
            yield Weights(path, shapes, file.get_tensor)
    else:
        tensors = _checkpoint_tensors(path)
        yield Weights(path, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, tensors.__getitem__)


def require_fit(weights: Weights, required: Mapping[str, Shape], ignorable: re.Pattern[str]) -> None:
    """Raise ModelError unless the file holds all of `required` in these shapes, and besides only `ignorable`."""
    present = weights.shapes
    require_keys(weights, required)
    wrong = [f"{key} {present[key]} instead of {shape}" for key, shape in required.items() if present[key] != shape]
    if wrong:
        raise ModelError(f"{weights.path} has {len(wrong)} tensors of other shapes than its model: {_name_some(wrong)}")
    strange = [ascii(key)[:80] for key in present if key not in required and not ignorable.match(key)]
    if strange:
        raise ModelError(
            f"{weights.path} has {len(strange)} tensors that its model has no place for: {_name_some(strange)}"
        )


def require_keys(weights: Weights, keys: Iterable[str]) -> None:
    """Raise ModelError unless the file has all of `keys`."""
    keys = list(keys)
    missing = [key for key in keys if key not in weights.shapes]
    if missing:
        raise ModelError(
            f"{weights.path} lacks {len(missing)} of {len(keys)} tensors of its model: {_name_some(missing)}"
        )


def read_tensors(weights: Weights, keys: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Read the tensors as they are stored, on the CPU, one at a time, in the order of their names.

    Raises ModelError for tensors that are not plain floating-point numbers, and for files whose tensors are larger than
    the file: a crafted pickle can expand one stored number to gigabytes.
    """
    left = weights.path.stat().st_size
    for key in sorted(keys):
        tensor = weights.read(key).detach()
        if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ModelError(
                f"{weights.path}: {key} is {tensor.dtype} {tensor.layout}, not plain floating-point numbers"
            )
        left -= tensor.numel() * tensor.element_size()
        if left < 0:
            raise ModelError(f"{weights.path}: {key} and others claim more numbers than the file holds")
        yield key, tensor.contiguous()


def load_weights(
    network: torch.nn.Module,
    weights: Weights,
    *,
    ignorable: re.Pattern[str],
    device: torch.device,
    dtype: torch.dtype,
) -> str:
    """Fill a network that was made on the meta device. It is then on `device`, in `dtype`, without gradients.

    On a CPU, tensors that are stored as `dtype` stay memory-mapped. Returns the SHA-256 of the tensors as they are
    stored (names, types, shapes, numbers). It is the same for the same weights in any file, whatever else the file holds.

    Raises ModelError where the file does not fit (see :func:`require_fit`) or holds numbers that are not finite, and
    DeviceError where memory runs out.
    """
    require_fit(weights, {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}, ignorable)
    digest = hashlib.sha256()
    loaded: dict[str, torch.Tensor] = {}
    try:
        for key, tensor in read_tensors(weights, network.state_dict()):
            add_to_digest(digest, key, tensor)
            loaded[key] = tensor.to(device, dtype)
            _require_finite(weights.path, key, loaded[key])
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise DeviceError(f"{weights.path} does not fit into the memory of {device}: {error}") from error
        raise ModelError(f"{weights.path} cannot be read: {error}") from error
    network.load_state_dict(loaded, strict=True, assign=True)
    network.requires_grad_(False)
    require_no_meta(weights.path, network)
    return digest.hexdigest()


def add_to_digest(digest: Any, key: str, tensor: torch.Tensor) -> None:
    """Add a contiguous tensor to one of hashlib's digests."""
    digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy())


def require_no_meta(path: Path, network: torch.nn.Module) -> None:
    """Raise ModelError if a parameter or buffer has no numbers: a move to a device would fill it with garbage."""
    named = [*network.named_parameters(), *network.named_buffers()]
    empty = [key for key, tensor in named if tensor.is_meta]
    if empty:
        raise ModelError(f"{path} left {len(empty)} tensors of its model empty: {_name_some(empty)}")


def _require_finite(path: Path, key: str, tensor: torch.Tensor) -> None:
    # If any number is NaN, so are minimum and maximum; and these two need no memory.
    if tensor.numel() and not torch.stack(torch.aminmax(tensor)).isfinite().all():
        raise ModelError(f"{path}: {key} holds numbers that are not finite in {tensor.dtype}")


def _open_safetensors(path: Path) -> Any:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ModelError(f"{path} needs safetensors, which cannot be imported ({error}): {INSTALL}") from error
    try:
        return safe_open(path, "pt")
    except Exception as error:
        raise ModelError(f"{path} is no intact safetensors file: {error}") from error


def _checkpoint_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a crafted pickle can raise anything
        # Only the first line is kept: torch's message goes on to explain how to load the file unsafely.
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(
            f"{path} is refused: it is damaged, in torch's format from before 1.6, or holds more than tensors, and then "
            f"opening it could run code of its author ({said})"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not weights by name")
    weights = next((content[name] for name in _CONTAINERS if isinstance(content.get(name), dict)), content)
    return {key: value for key, value in weights.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}


def _name_some(names: list[str]) -> str:
    rest = len(names) - _NUM_NAMED
    return ", ".join(names[:_NUM_NAMED]) + (f" and {rest} more" if rest > 0 else "")
