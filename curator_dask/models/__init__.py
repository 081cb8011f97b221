"""Embedding models: frames of a clip in, one unit vector out. Light to import; a model's own libraries load with it.

``load_model("pdqf_tmk", model_dir=None)`` gives a model; ``register_model`` adds one of your own.
"""

from __future__ import annotations

from curator_dask.models.base import EmbeddingModel, Unusable
from curator_dask.models.registry import load_model, model_names, register_model

__all__ = ["EmbeddingModel", "Unusable", "load_model", "model_names", "register_model"]
