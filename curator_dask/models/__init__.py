"""Embedding models: frames of a clip in, one unit vector out. Light to import; a model's own libraries load with it.

``load_model("pdqf_tmk", ModelOptions())`` gives a model; ``register_callable`` makes one of a function of your own,
``register_model`` takes a whole model.
"""

from __future__ import annotations

from curator_dask.models.base import EmbeddingModel, ModelOptions, Unusable
from curator_dask.models.callables import CallableModelFactory, register_callable
from curator_dask.models.registry import load_model, model_names, register_model
from curator_dask.video.frames.sampling import FrameRule

__all__ = [
    "CallableModelFactory",
    "EmbeddingModel",
    "FrameRule",
    "ModelOptions",
    "Unusable",
    "load_model",
    "model_names",
    "register_callable",
    "register_model",
]
