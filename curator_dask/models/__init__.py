"""Embedding models turn the frames of a clip into a unit vector. A model's own libraries are imported when it is loaded.

``load_model("pdqf_tmk", ModelOptions())`` loads a model. ``register_callable`` makes a model of your own function;
``register_model`` registers a function that loads your own model.
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
