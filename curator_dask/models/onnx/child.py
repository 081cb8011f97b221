"""``python -m curator_dask.models.onnx.child FILE DEVICE SETTINGS``: load a model and let it see noise.

Prints the error as JSON, or ``{}``. `trial` starts it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from curator_dask.errors import CuratorError
from curator_dask.models.base import ModelOptions
from curator_dask.models.onnx.files import digests
from curator_dask.models.onnx.model import OnnxModel
from curator_dask.models.onnx.settings import read_settings


def main(path: str, device: str, settings: str) -> None:
    """Try a model, and print what went wrong."""
    options = ModelOptions(device=device, settings=tuple(json.loads(settings).items()))
    said, file = {}, Path(path)
    try:
        OnnxModel("onnx", file, digests(file), read_settings(file, options.settings), options)
    except CuratorError as error:
        said = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
