"""The vector of a file that is no clip of an output, made by the model that made the vectors there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.layout import EMBEDDINGS_ENDING, FINGERPRINT, embeddings_folder
from curator_dask.models.base import DTYPES, ModelOptions, Unusable, settings_as_text
from curator_dask.models.registry import load_model, model_names
from curator_dask.stages.embed.clip_tracks import TRACK_VERSION
from curator_dask.video.frames.read import read_ready_clip
from curator_dask.video.picture import as_video, is_picture

if TYPE_CHECKING:
    from curator_dask.models.base import EmbeddingModel, Vector

NO_PART_OF_THE_MODEL = ("frames_from", TRACK_VERSION)


class ModelChoice(NamedTuple):
    """What the fingerprint of an output does not say of its model."""

    embedding_algorithm: str | None = None
    """The model's name; None: found out by the output."""
    model_dir: str = "./models"
    trust_remote_code: bool = False
    model_settings: Mapping[str, Any] | Sequence[str] | None = None


def vector_of_file(path: Path, output: str, choice: ModelChoice) -> Vector:
    """The unit vector (D,) of a video or picture, as the embed stage would make it of a clip.

    Raises:
        InputError: the output has no vectors or those of another model, or the file gives no usable vector.
        ParameterError: the output does not say which model made its vectors.
    """
    model = _model_of(output, choice)
    if is_picture(path):
        with as_video(path) as video:
            frames = read_ready_clip(video, model.frame_rule)
    else:
        frames = read_ready_clip(path, model.frame_rule)
    vector = model.embed([frames])[0]
    if isinstance(vector, Unusable):
        raise InputError(f"{path} has no vector: {vector.message} [{vector.reason}]")
    return vector


def _model_of(output: str, choice: ModelChoice) -> EmbeddingModel:
    """The model that made the vectors of an output."""
    name, made_by = _recorded_model(output, choice.embedding_algorithm)
    is_prefix = (made_by.get("frame_rule") or {}).get("kind") == "prefix"
    options = ModelOptions(
        Path(choice.model_dir).absolute(),
        frame_sampling="prefix" if is_prefix else "uniform",
        dtype=_dtype(made_by),
        trust_remote_code=choice.trust_remote_code,
        start_dir=Path.cwd(),
        settings=settings_as_text(choice.model_settings),
    )
    model = load_model(name, options)
    found = json.loads(json.dumps(model.fingerprint()))
    differing = sorted(key for key in found.keys() | made_by.keys() if found.get(key) != made_by.get(key))
    if differing:
        raise InputError(
            f"the model {name} here is not the one that made the vectors in {output}: they differ in {', '.join(differing)}"
        )
    return model


def _dtype(made_by: dict[str, Any]) -> str:
    """The number type that a network computed in; ``auto`` where the record has another one, as that of a file's pixels."""
    dtype = made_by.get("dtype")
    return str(dtype) if dtype in DTYPES else "auto"


def _recorded_model(output: str, algorithm: str | None) -> tuple[str, dict[str, Any]]:
    """The name of the model of an output, and its fingerprint."""
    wanted = f"*{EMBEDDINGS_ENDING}" if algorithm is None else embeddings_folder(algorithm)
    found = sorted(Path(output).glob(f"{wanted}/{FINGERPRINT}"))
    if not found:
        raise InputError(f"{output} holds no vectors that a model made ({wanted}): give the output folder of run")
    fingerprint = json.loads(found[0].read_bytes())
    name = algorithm or fingerprint.get("model")
    if len(found) > 1 or (algorithm is None and name not in model_names()):
        shown = ", ".join(path.parent.name for path in found)
        raise ParameterError(f"{output} does not say which model made {shown}: name it with embedding_algorithm")
    return str(name), {key: value for key, value in fingerprint.items() if key not in NO_PART_OF_THE_MODEL}
