"""Load network and preprocessing from a Hugging Face folder, with the right class, all weights and the right output."""

from __future__ import annotations

import re
from typing import Any

import torch

from curator_dask.errors import ModelError
from curator_dask.models.base import JSON
from curator_dask.models.local_folder import LocalFolder, load_transformers, transformers_version

PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_KNOWN = {
    # AutoModel would silently drop the projection of CLIP.
    "clip": ("CLIPVisionModelWithProjection", "image_embeds"),
    "clip_vision_model": ("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip": ("SiglipVisionModel", "pooler_output"),
    "siglip_vision_model": ("SiglipVisionModel", "pooler_output"),
    "dinov2": ("AutoModel", "pooler_output"),
    "dinov2_with_registers": ("AutoModel", "pooler_output"),
}
_NOT_NEEDED = re.compile(r"(text_model|text_projection|logit_scale|logit_bias|classifier)\b|.*\bposition_ids$")
_TOKENS = ("first_token", "mean_token")


def load_config(folder: LocalFolder) -> Any:
    """Load the configuration. Raises ModelError if it refers to files or code outside the folder, or to other formats."""
    raw = folder.read_json("config.json")
    if not isinstance(raw.get("model_type"), str):
        raise ModelError(f"{folder.path / 'config.json'} names no model_type; is it a model of transformers?")
    if (folder.path / "adapter_config.json").exists():
        raise ModelError(f"{folder.path} holds an adapter; merge it into its base model and save that")
    for key, value in _flatten(raw):
        if key == "quantization_config":
            raise ModelError(f"{folder.path} holds quantised weights; use the original ones")
        if key.strip("_").startswith("attn_implementation") and "/" in str(value):
            raise ModelError(f"{folder.path / 'config.json'} asks for attention code from elsewhere: {value!r}")
    return load_transformers().AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)


def _flatten(raw: JSON) -> list[tuple[str, JSON]]:
    """All pairs of key and value, at any depth of objects."""
    if not isinstance(raw, dict):
        return []
    return [pair for key, value in raw.items() for pair in [(key, value), *_flatten(value)]]


def load_processor(folder: LocalFolder) -> Any:
    """Load the image processor that resizes with Pillow: torchvision's differ a little and are not always installed."""
    folder.first_of(*PREPROCESSING)
    pillow = {"backend": "pil"} if transformers_version() >= (5, 0) else {"use_fast": False}
    auto = load_transformers().AutoImageProcessor
    return auto.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False, **pillow)


def processor_kind(processor: Any) -> dict[str, str]:
    """The processor's name, the same in all versions, and the library it resizes with, which changes the pixels."""
    name = type(processor).__name__
    with_pillow = name.endswith("Pil") if transformers_version() >= (5, 0) else not name.endswith("Fast")
    return {"name": name.removesuffix("Pil").removesuffix("Fast"), "with": "pillow" if with_pillow else "torchvision"}


def load_network(folder: LocalFolder, config: Any, dtype: torch.dtype) -> tuple[Any, set[str]]:
    """Load the network. Also returns the names of weights that the folder lacks; these are random numbers now."""
    class_name = _KNOWN.get(config.model_type, ("AutoModel",))[0]
    network, info = getattr(load_transformers(), class_name).from_pretrained(
        folder.path,
        config=_vision_part(config) if config.model_type in ("clip", "siglip") else config,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        use_safetensors=folder.has_safetensors,
        output_loading_info=True,
        **{"dtype" if transformers_version() >= (4, 56) else "torch_dtype": dtype},
    )
    if info["mismatched_keys"]:
        raise ModelError(
            f"{folder.path} has weights of other shapes than its model: {_name_some(info['mismatched_keys'])}"
        )
    strange = [key for key in info["unexpected_keys"] if not _NOT_NEEDED.match(key)]
    if strange and config.model_type in _KNOWN:
        raise ModelError(f"{folder.path} has weights that its model has no place for: {_name_some(strange)}")
    tensors = [*network.named_parameters(), *network.named_buffers()]
    empty = [key for key, tensor in tensors if tensor.is_meta]
    if empty:
        raise ModelError(f"{folder.path}: weights were left empty: {_name_some(empty)}")
    return network, set(info["missing_keys"])


def find_output(folder: LocalFolder, network: Any, model_type: str, pixels: torch.Tensor, absent: set[str]) -> str:
    """The name of the network's output that is the vector of a picture. A trial finds it for unknown types.

    Raises ModelError if the vector would depend on `absent` weights. Folders of classifiers lack the pooler's weights:
    then the vector is the class token, or the mean of all tokens if there is no class token.
    """
    output = _KNOWN[model_type][1] if model_type in _KNOWN else _try_out(network, pixels, absent)
    if output in _TOKENS:
        absent = {key for key in absent if not _is_pooler(key)}
    if absent:
        raise ModelError(f"{folder.path} lacks {len(absent)} weights of its model: {_name_some(absent)}")
    return output


def _try_out(network: Any, pixels: torch.Tensor, absent: set[str]) -> str:
    if hasattr(network, "get_image_features"):
        return "image_features"
    with torch.inference_mode():
        result = network(pixel_values=pixels)
    if getattr(result, "pooler_output", None) is not None and not any(map(_is_pooler, absent)):
        return "pooler_output"
    keys = [key for key, _ in network.named_parameters()]
    return "first_token" if any("cls_token" in key or "class_embedding" in key for key in keys) else "mean_token"


def _is_pooler(key: str) -> bool:
    return "pooler" in key.split(".")


def _vision_part(config: Any) -> Any:
    vision = config.vision_config
    if hasattr(config, "projection_dim"):
        vision.projection_dim = config.projection_dim  # the outer value is right; the inner one may be a default
    return vision


def _name_some(keys: Any) -> str:
    names = sorted(str(key) for key in keys)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_output(network: Any, pixels: torch.Tensor, output: str) -> torch.Tensor:
    """Run the network on (N, 3, S, S) pixels and return (N, D) vectors."""
    result: Any
    if output == "image_features":
        result = network.get_image_features(pixel_values=pixels)  # a tensor before transformers 5, since then an output
        vectors: torch.Tensor = result if isinstance(result, torch.Tensor) else result.pooler_output
        return vectors
    result = network(pixel_values=pixels)
    if output in ("image_embeds", "pooler_output"):
        vectors = result[output]
        return vectors.flatten(1)  # convolutional networks give (N, D, 1, 1)
    tokens: torch.Tensor = result.last_hidden_state
    if tokens.ndim == 4:  # (N, D, h, w) from a convolutional network
        return tokens.mean(dim=(2, 3))
    return tokens[:, 0] if output == "first_token" else tokens.mean(dim=1)
