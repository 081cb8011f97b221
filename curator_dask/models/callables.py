"""Make a model of any function from frames to numbers, and make it known to the worker processes of a cluster.

::

    from curator_dask.models import FrameRule, register_callable

    def mean_colour(frames):  # (T, H, W, 3) uint8 RGB
        return frames.mean(axis=(0, 1, 2))

    register_callable("mean_colour", mean_colour, frame_rule=FrameRule.spread(2, width=8, height=8), version="1")

A registration is valid in its own process only. There are two ways to make a model known to worker processes:

- The workers run the registration themselves: ``dask worker --preload my_models``. For workers that this package starts,
  set the environment variable ``DASK_DISTRIBUTED__WORKER__PRELOAD='["my_models"]'``.
- The model's name says where its code is: ``python:my_models:mean_colour``. There, `mean_colour` is a
  :class:`CallableModelFactory`, or any function from :class:`~curator_dask.models.base.ModelOptions` to a model. Such a
  name runs the code that it names, so it needs ``trust_remote_code``.

A factory can be pickled if its function can.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curator_dask.errors import CuratorError, ModelError, ParameterError
from curator_dask.models.base import JSON, EmbeddingModel, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.registry import register_model
from curator_dask.video.frames.sampling import FrameRule

Function = Callable[[Any], Any]
DEFAULT_EPS = 0.05
_PLACE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*)")
_MOST_PROBE_FRAMES = 64
_MODEL_ATTRIBUTES = ("name", "dimension", "frame_rule", "default_eps", "light", "fingerprint", "embed")


def register_callable(
    name: str,
    function: Function,
    *,
    frame_rule: FrameRule,
    version: str = "1",
    batched: bool = False,
    default_eps: float = DEFAULT_EPS,
    light: bool = False,
) -> None:
    """Register `function` as the model `name` in this process. :class:`CallableModelFactory` explains the parameters.

    Raises ParameterError for a name that is taken and for invalid values.
    """
    factory = CallableModelFactory(name, function, frame_rule, version, batched, default_eps, light)
    register_model(name, factory)


@dataclass(frozen=True)
class CallableModelFactory:
    """Makes a model of a function. Raises ParameterError for invalid values."""

    name: str
    function: Function
    """``(T, H, W, 3) uint8 RGB → (D,)`` numbers (NumPy, torch, or a list), with the same D for every clip. A clip is
    unusable if the function returns None, zeros, numbers that are not finite, or an
    :class:`~curator_dask.models.base.Unusable` with its own reason."""
    frame_rule: FrameRule
    version: str = "1"
    """Change the version whenever `function` gives other numbers: vectors of two versions are never mixed."""
    batched: bool = False
    """If true, `function` takes a list of clips and returns as many vectors."""
    default_eps: float = DEFAULT_EPS
    light: bool = False
    """If true, the model costs little compared with decoding, and may run in the process that cuts the video."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ParameterError(f"the model {self.name!r} needs a function, not {self.function!r}")
        if not self.name or not self.version:
            raise ParameterError(f"name ({self.name!r}) and version ({self.version!r}) of a model must not be empty")
        if not 0 <= self.default_eps <= 2:
            raise ParameterError(f"default_eps ({self.default_eps}) is a cosine distance, between 0 and 2")

    def __call__(self, options: ModelOptions) -> CallableModel:
        """Make the model, and call the function once with noise. Raises ModelError if that gives no vector.

        Device, dtype and folder of the options are not used.
        """
        if options.frame_sampling == "prefix" and self.frame_rule.kind == "rate":
            raise ParameterError(f"{self.name} looks at the whole clip, so frame_sampling cannot be 'prefix'")
        if options.frame_sampling == "prefix":
            return CallableModel(replace(self, frame_rule=replace(self.frame_rule, kind="prefix")))
        return CallableModel(self)


class CallableModel:
    """A model that calls a function, checks its results, and scales them to unit length in float32."""

    def __init__(self, factory: CallableModelFactory) -> None:
        self._factory = factory
        self.name = factory.name
        self.frame_rule = factory.frame_rule
        self.default_eps = factory.default_eps
        self.light = factory.light
        self.dimension = self._probe()

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`. Only name and version identify the function."""
        return {
            "model": self.name,
            "version": self._factory.version,
            "weights": "a function of the user's",
            "dimension": self.dimension,
            "dtype": "float32",
            "frame_rule": dict(self.frame_rule.describe()),
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (D,) float32 unit vectors from clips of (T, H, W, 3) uint8 frames.

        A clip is unusable if the function returns None (``no-vector``), only zeros (``zero-vector``), or numbers that
        are not finite (``not-finite``). Raises ModelError if the function fails or returns no vectors.
        """
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or len(clip) == 0:
                raise ParameterError(f"a clip must be (T, H, W, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}")
        return [self._check_result(result, self.dimension) for result in self._results(clips)] if clips else []

    def _probe(self) -> int:
        """The dimension of the vector of a clip of noise."""
        rule = self.frame_rule
        num_frames = rule.num_frames or min(math.ceil(rule.rate_fps), _MOST_PROBE_FRAMES)
        noise = np.random.default_rng(0).integers(0, 256, (num_frames, rule.height, rule.width, 3), np.uint8)
        result = self._check_result(self._results([noise])[0], None)
        if isinstance(result, Unusable):
            raise ModelError(f"the model {self.name!r} gives no usable vector for a clip of noise: {result.message}")
        return len(result)

    def _results(self, clips: Sequence[Frames]) -> list[Any]:
        function = self._factory.function
        try:
            results = list(function(list(clips))) if self._factory.batched else [function(clip) for clip in clips]
        except CuratorError:
            raise
        except Exception as error:
            raise ModelError(f"the model {self.name!r} failed with {type(error).__name__}: {error}") from error
        if len(results) != len(clips):
            raise ModelError(f"the model {self.name!r} gave {len(results)} vectors for {len(clips)} clips")
        return results

    def _check_result(self, result: Any, dimension: int | None) -> Vector | Unusable:
        if isinstance(result, Unusable):
            return result
        if result is None:
            return Unusable("no-vector", f"the model {self.name!r} gave None")
        numbers = self._numbers(result)
        if dimension is not None and len(numbers) != dimension:
            raise ModelError(f"the model {self.name!r} gave {len(numbers)} numbers for a clip, and {dimension} before")
        if not np.isfinite(numbers).all():
            return Unusable("not-finite", f"the model {self.name!r} gave numbers that are not finite", broken=True)
        largest = np.abs(numbers).max()
        if largest == 0:
            return Unusable("zero-vector", f"the model {self.name!r} gave zeros only")
        scaled = numbers / largest  # so that no square is too large or too small
        unit: Vector = (scaled / np.linalg.norm(scaled)).astype(np.float32)
        return unit

    def _numbers(self, result: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        if hasattr(result, "detach"):  # a torch tensor, on any device and of any type
            result = result.detach().cpu().double()
        try:
            numbers = np.asarray(result, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model {self.name!r} gave {type(result).__name__}, not a vector: {error}") from error
        if numbers.ndim != 1 or numbers.size == 0:
            raise ModelError(f"the model {self.name!r} gave an array of shape {numbers.shape}, not a vector (D,)")
        return numbers


def load_python(place: str, options: ModelOptions) -> EmbeddingModel:
    """Load the model of the factory ``module:attribute`` in an importable module.

    Raises ParameterError without ``trust_remote_code`` and for a malformed `place`, ModelError if the module or
    the factory does not exist, or fails to make a model.
    """
    match = _PLACE.fullmatch(place)
    if match is None:
        raise ParameterError(f"python:{place} must look like python:package.module:attribute")
    if not options.trust_remote_code:
        raise ParameterError(f"python:{place} runs code of that module; allow it with trust_remote_code=True")
    factory = _attribute(match["module"], match["attribute"])
    if not callable(factory):
        raise ModelError(f"python:{place} is {type(factory).__name__}, not a function from ModelOptions to a model")
    try:
        model: EmbeddingModel = factory(options)
    except CuratorError:
        raise
    except Exception as error:
        raise ModelError(f"python:{place}, given ModelOptions, failed with {type(error).__name__}: {error}") from error
    missing = [name for name in _MODEL_ATTRIBUTES if not hasattr(model, name)]
    if missing:
        raise ModelError(
            f"python:{place} gave {type(model).__name__}, which has no {missing[0]!r} and so is no model; "
            "CallableModelFactory makes one of a function"
        )
    return model


def _attribute(module: str, attribute: str) -> Any:
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ModelError(
            f"the module {module!r} cannot be imported ({error}); it must be installed, or on PYTHONPATH, on every worker"
        ) from error
    except AttributeError as error:
        raise ModelError(f"the module {module!r} has no {attribute!r}") from error
