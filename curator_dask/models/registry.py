"""Models by name. A new one is a file with a factory and a line in ``_BUILT_IN``; a user's own goes in at run time::

from curator_dask.models import register_model

register_model("mean_colour", lambda model_dir, device: MeanColour())
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from curator_dask.errors import ParameterError
from curator_dask.models.base import EmbeddingModel

ModelFactory = Callable[[Path | None, str], EmbeddingModel]
"""``factory(model_dir, device)`` gives a loaded model; ``device`` is one of torch's, such as ``cpu`` or ``cuda:0``."""

DEFAULT_MODEL = "pdqf_tmk"
_BUILT_IN = {
    "pdqf_tmk": "curator_dask.models.pdqf_tmk:load_segments",
    "pdqf_tmk_level1": "curator_dask.models.pdqf_tmk:load_level1",
}
_NOT_YET = ("internvideo2", "cosmos-embed1-224p", "cosmos-embed1-336p", "cosmos-embed1-448p")
_FOLDER_PREFIX = "hf:"
_registered: dict[str, ModelFactory] = {}


def model_names() -> list[str]:
    """The names that :func:`load_model` takes, sorted."""
    return sorted({*_BUILT_IN, *_registered})


def register_model(name: str, factory: ModelFactory) -> None:
    """Make a model of your own known, in this process alone. Raises ParameterError for a name that is taken."""
    if not name or name.startswith(_FOLDER_PREFIX):
        raise ParameterError(f"model name {name!r} must not be empty or start with {_FOLDER_PREFIX!r}")
    if name in model_names() or name in _NOT_YET:
        raise ParameterError(f"there is a model named {name!r} already; choose another name")
    _registered[name] = factory


def load_model(name: str, *, model_dir: Path | None = None, device: str = "cpu") -> EmbeddingModel:
    """Load a model by name, with weights (if it has any) from ``model_dir``, onto a torch device.

    Raises ParameterError for an unknown name, ModelError where files are missing or do not fit, DeviceError where the
    device is not there.
    """
    if name in _registered:
        return _registered[name](model_dir, device)
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        factory: ModelFactory = getattr(importlib.import_module(module), attribute)
        return factory(model_dir, device)
    known = ", ".join(model_names())
    if name in _NOT_YET or name.startswith(_FOLDER_PREFIX):
        raise ParameterError(f"this version does not have the embedding model {name!r} yet; it has: {known}")
    raise ParameterError(f"there is no embedding model {name!r}; there are: {known}")
