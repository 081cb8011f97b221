"""A model made of any function from frames to numbers, and how the worker processes of a cluster come to know it.

::

    from curator_dask.models import FrameRule, register_callable

    def mean_colour(frames):  # (T, H, W, 3) uint8 RGB
        return frames.mean(axis=(0, 1, 2))

    register_callable("mean_colour", mean_colour, frame_rule=FrameRule.spread(2, width=8, height=8), version="1")

A registration holds in its own process. Worker processes know the model if they run the registration themselves
(``dask worker --preload my_models``; for workers that are started here, the environment variable
``DASK_DISTRIBUTED__WORKER__PRELOAD='["my_models"]'``), or if the model is named by where it lies,
``python:my_models:mean_colour``, with `mean_colour` a :class:`CallableModelFactory` (or any function from
:class:`~curator_dask.models.base.ModelOptions` to a model). Such a name runs code that it names, so it takes
``trust_remote_code``. A factory can also be sent along with work: it pickles whenever its function does.
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
    """Make a model of `function` known under `name`, in this process: see :class:`CallableModelFactory`.

    Raises ParameterError for a name that is taken and for values that cannot be meant.
    """
    factory = CallableModelFactory(name, function, frame_rule, version, batched, default_eps, light)
    register_model(name, factory)


@dataclass(frozen=True)
class CallableModelFactory:
    """Makes a model of a function. Raises ParameterError for values that cannot be meant."""

    name: str
    function: Function
    """``(T, H, W, 3) uint8 RGB → (D,)`` numbers (NumPy, torch, or a list), of the same D for every clip. None, zeros
    and numbers that are not finite make the clip unusable; an :class:`~curator_dask.models.base.Unusable` says why."""
    frame_rule: FrameRule
    version: str = "1"
    """Yours to raise whenever `function` gives other numbers: vectors of two versions are never mixed."""
    batched: bool = False
    """`function` takes a list of clips and gives as many vectors."""
    default_eps: float = DEFAULT_EPS
    light: bool = False
    """It costs little beside decoding: it may run in the process that cuts the video."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ParameterError(f"the model {self.name!r} needs a function, not {self.function!r}")
        if not self.name or not self.version:
            raise ParameterError(f"name ({self.name!r}) and version ({self.version!r}) of a model must not be empty")
        if not 0 <= self.default_eps <= 2:
            raise ParameterError(f"default_eps ({self.default_eps}) is a cosine distance, between 0 and 2")

    def __call__(self, options: ModelOptions) -> CallableModel:
        """The model, after one call of the function with noise. Raises ModelError if that gives no vector.

        Device, dtype and folder of the options are the function's own affair.
        """
        if options.frame_sampling == "prefix" and self.frame_rule.kind == "rate":
            raise ParameterError(f"{self.name} looks at the whole clip, so frame_sampling cannot be 'prefix'")
        if options.frame_sampling == "prefix":
            return CallableModel(replace(self, frame_rule=replace(self.frame_rule, kind="prefix")))
        return CallableModel(self)


class CallableModel:
    """A function with the manners of a model: its results checked, and scaled to unit length in float32."""

    def __init__(self, factory: CallableModelFactory) -> None:
        self._factory = factory
        self.name = factory.name
        self.frame_rule = factory.frame_rule
        self.default_eps = factory.default_eps
        self.light = factory.light
        self.dimension = self._probe()

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`. A function is known by its name and version alone."""
        return {
            "model": self.name,
            "version": self._factory.version,
            "weights": "a function of the user's",
            "dimension": self.dimension,
            "dtype": "float32",
            "frame_rule": dict(self.frame_rule.describe()),
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """(D,) float32 unit vectors of clips of (T, H, W, 3) uint8 frames.

        Unusable are clips without a vector (``no-vector``), with zeros only (``zero-vector``), or with numbers that are
        not finite (``not-finite``). Raises ModelError if the function fails or gives something else than vectors.
        """
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or len(clip) == 0:
                raise ParameterError(f"a clip must be (T, H, W, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}")
        return [self._checked(result, self.dimension) for result in self._results(clips)] if clips else []

    def _probe(self) -> int:
        """The dimension, from the frames of one clip of noise."""
        rule = self.frame_rule
        num_frames = rule.num_frames or min(math.ceil(rule.rate_fps), _MOST_PROBE_FRAMES)
        noise = np.random.default_rng(0).integers(0, 256, (num_frames, rule.height, rule.width, 3), np.uint8)
        result = self._checked(self._results([noise])[0], None)
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

    def _checked(self, result: Any, dimension: int | None) -> Vector | Unusable:
        if isinstance(result, Unusable):
            return result
        if result is None:
            return Unusable("no-vector", f"the model {self.name!r} gave None")
        numbers = self._numbers(result)
        if dimension is not None and len(numbers) != dimension:
            raise ModelError(f"the model {self.name!r} gave {len(numbers)} numbers for a clip, and {dimension} before")
        if not np.isfinite(numbers).all():
            return Unusable("not-finite", f"the model {self.name!r} gave numbers that are not finite")
        largest = np.abs(numbers).max()
        if largest == 0:
            return Unusable("zero-vector", f"the model {self.name!r} gave zeros only")
        scaled = numbers / largest  # so that no square is too large or too small
        unit: Vector = (scaled / np.linalg.norm(scaled)).astype(np.float32)
        return unit

    def _numbers(self, result: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        if hasattr(result, "detach"):  # a torch tensor, of any device and type
            result = result.detach().cpu().double()
        try:
            numbers = np.asarray(result, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model {self.name!r} gave {type(result).__name__}, not a vector: {error}") from error
        if numbers.ndim != 1 or numbers.size == 0:
            raise ModelError(f"the model {self.name!r} gave an array of shape {numbers.shape}, not a vector (D,)")
        return numbers


def load_python(place: str, options: ModelOptions) -> EmbeddingModel:
    """Load ``module:attribute``, where the attribute is a factory, from an installed or otherwise importable module.

    Raises ParameterError without ``trust_remote_code`` and for malformed places, ModelError where there is no such
    module or no factory in it.
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
