"""Models by name: those built in, those in a folder (``hf:PATH``) or a file (``onnx:PATH``), and a user's own.

A new model is a file with a factory and a line in ``_BUILT_IN``. A user registers a model at run time, in each process
that loads it, or names the place of its Python code (``python:package.module:attribute``)::

    from curator_dask.models import register_model

    register_model("mean_colour", lambda options: MeanColour())

:mod:`curator_dask.models.callables` makes a model of any function, and says how worker processes come to know it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from curator_dask.errors import ParameterError
from curator_dask.models.base import EmbeddingModel, ModelOptions
from curator_dask.models.local_folder import find_file, find_folder

ModelFactory = Callable[[ModelOptions], EmbeddingModel]
"""``factory(options)`` gives a loaded model."""

DEFAULT_MODEL = "pdqf_tmk_nobars"
_BUILT_IN = {
    "cosmos-embed1-224p": "curator_dask.models.cosmos.model:load_224p",
    "cosmos-embed1-336p": "curator_dask.models.cosmos.model:load_336p",
    "cosmos-embed1-448p": "curator_dask.models.cosmos.model:load_448p",
    "effnet-lite0": "curator_dask.models.effnet.model:load",
    "internvideo2": "curator_dask.models.internvideo2.model:load",
    "pdqf_tmk": "curator_dask.models.pdqf.pdqf_tmk:load_segments",
    "pdqf_tmk_level1": "curator_dask.models.pdqf.pdqf_tmk:load_level1",
    "pdqf_tmk_nobars": "curator_dask.models.pdqf.pdqf_tmk:load_without_bars",
}
_PREFIXES = {
    "hf:": "curator_dask.models.huggingface.model:load_folder",
    "onnx:": "curator_dask.models.onnx.model:load_file",
    "python:": "curator_dask.models.callables:load_python",
}
_FOLDERS = {f"cosmos-embed1-{size}": f"nvidia/Cosmos-Embed1-{size}" for size in ("224p", "336p", "448p")}
_registered: dict[str, ModelFactory] = {}


def model_names() -> list[str]:
    """The sorted names that :func:`load_model` takes, without those that start with a prefix."""
    return sorted({*_BUILT_IN, *_registered})


def register_model(name: str, factory: ModelFactory) -> None:
    """Add a model under a name, in this process only. Raises ParameterError if the name is taken."""
    if not name or ":" in name:
        raise ParameterError(f"model name {name!r} must not be empty or have a colon")
    if name in model_names():
        raise ParameterError(f"there is a model named {name!r} already; choose another name")
    _registered[name] = factory


def registered_factory(name: str) -> ModelFactory | None:
    """The factory that was registered under `name` in this process, to be sent to workers; None for every other name."""
    return _registered.get(name)


def adopt_model(name: str, factory: ModelFactory) -> None:
    """Add a model that another process registered: like :func:`register_model`, but repeated calls are allowed."""
    if name in _BUILT_IN:
        raise ParameterError(f"there is a model named {name!r} already; choose another name")
    _registered[name] = factory


def load_model(
    name: str, options: ModelOptions | None = None, *, model_dir: Path | None = None, device: str = "cpu"
) -> EmbeddingModel:
    """Load a model by name. Without `options`, `model_dir` and `device` are the options.

    Raises ParameterError for an unknown name, ModelError if files are missing or do not fit, DeviceError if the device
    is not there.
    """
    options = options or ModelOptions(model_dir=model_dir, device=device)
    _require_files(name, options)
    if options.settings and (name in _BUILT_IN or name.startswith("hf:")):
        raise ParameterError(f"the model {name} takes no model settings, and {options.settings[0][0]!r} is set")
    return _factory(name)(options)


def _require_files(name: str, options: ModelOptions) -> None:
    """Raise ModelError where a model's folder or file is not there, before torch is imported, which takes a second."""
    folder = name.removeprefix("hf:") if name.startswith("hf:") else _FOLDERS.get(name)
    if folder is not None and name not in _registered:
        find_folder(folder, options)
    if name.startswith("onnx:"):
        find_file(name.removeprefix("onnx:"), options)


def _factory(name: str) -> ModelFactory:
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        return _import(_BUILT_IN[name])
    for prefix, place in _PREFIXES.items():
        if name.startswith(prefix):
            load: Callable[[str, ModelOptions], EmbeddingModel] = _import(place)
            rest = name.removeprefix(prefix)
            return lambda options: load(rest, options)
    raise ParameterError(
        f"there is no embedding model {name!r}; there are: {', '.join(model_names())}, "
        "hf:FOLDER (a Hugging Face image model), onnx:FILE (an image model as ONNX) and python:MODULE:ATTRIBUTE (your own)"
    )


def _import(place: str) -> Callable[..., EmbeddingModel]:
    module, _, attribute = place.partition(":")
    function: Callable[..., EmbeddingModel] = getattr(importlib.import_module(module), attribute)
    return function
