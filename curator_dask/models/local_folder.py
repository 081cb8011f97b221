"""Find, read and hash a folder of model files as transformers writes it, and load from it without a network."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator_dask.errors import CuratorError, DeviceError, ModelError
from curator_dask.models.base import JSON, ModelOptions

INSTALL = "pip install 'curator_dask[models]'"
_MAX_JSON_BYTES = 64 << 20
# The order is that in which transformers looks for them; the second name of each pair is a list of shards.
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


@dataclass(frozen=True)
class LocalFolder:
    """The folder of a model. All methods raise ModelError if a file is missing or has the wrong content."""

    path: Path

    def read_json(self, name: str) -> dict[str, JSON]:
        """The JSON object in the file `name`."""
        path = self.path / name
        try:
            if path.stat().st_size > _MAX_JSON_BYTES:
                raise ModelError(f"{path} has {path.stat().st_size} bytes: that is no configuration")
            content = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise ModelError(f"{self.path} has no {name}; is it a complete model folder?") from error
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read as JSON: {error}") from error
        if not isinstance(content, dict):
            raise ModelError(f"{path} is {type(content).__name__}, not a JSON object")
        return content

    def first_of(self, *names: str) -> str:
        """The first of the files `names` that exists."""
        for name in names:
            if (self.path / name).is_file():
                return name
        raise ModelError(f"{self.path} has none of {', '.join(names)}; is it a complete model folder?")

    def weight_files(self) -> tuple[str, ...]:
        """The names of the files with weights: safetensors if there are any, else ``pytorch_model.bin``."""
        name = self.first_of(*(name for pair in _WEIGHTS for name in pair))
        if not name.endswith(".index.json"):
            return (name,)
        shards = self.read_json(name).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ModelError(f"{self.path / name} has no weight_map")
        names = sorted({str(shard) for shard in shards.values()})
        for shard in names:
            if shard != Path(shard).name or not (self.path / shard).is_file():
                raise ModelError(f"{self.path / name} names the shard {shard!r}, which is not in the folder")
        return tuple(names)

    @property
    def has_safetensors(self) -> bool:
        """Whether the weights are in the format that can only hold numbers."""
        return self.weight_files()[0].endswith(".safetensors")

    def sha256(self, *names: str) -> dict[str, JSON]:
        """The hex digests of files, by name."""
        states = {name: (self.path / name).stat() for name in names}
        return {name: _sha256(self.path / name, state.st_size, state.st_mtime_ns) for name, state in states.items()}


def find_folder(name: str, options: ModelOptions) -> LocalFolder:
    """The folder `name`: below the model_dir if it is there, else as a path of its own. Raises ModelError for none."""
    places = _places(name, options)
    for place in places:
        if place.is_dir():
            return LocalFolder(place.resolve())
    raise ModelError(f"there is no model folder {_tried(places)}; download it once, for nothing is downloaded here")


def find_file(name: str, options: ModelOptions) -> Path:
    """The absolute path of the file `name`, which is looked for like a folder. Raises ModelError for none."""
    places = _places(name, options)
    for place in places:
        if place.is_file():
            return place.absolute()
    raise ModelError(f"there is no model file {_tried(places)}; download it once, for nothing is downloaded here")


def _places(name: str, options: ModelOptions) -> list[Path]:
    below = [] if options.model_dir is None else [options.model_dir / name]
    return [*below, options.start_dir / Path(name).expanduser()]


def _tried(places: list[Path]) -> str:
    return " or ".join(str(place) for place in dict.fromkeys(places))


def load_transformers() -> Any:
    """The transformers library. Raises ModelError where it is not installed."""
    for name in ("transformers", "safetensors", "PIL"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModelError(f"this model needs {name}, which cannot be imported ({error}): {INSTALL}") from error
    return importlib.import_module("transformers")


def transformers_version() -> tuple[int, int]:
    """The major and minor version of transformers."""
    major, minor, *_ = load_transformers().__version__.split(".")
    return int(major), int(minor)


@contextlib.contextmanager
def quiet_and_offline() -> Iterator[None]:
    """Switch off the network, progress bars and load reports of transformers; the package checks the reports itself.

    Some lookups ignore ``local_files_only`` and obey the library's offline switch only.
    """
    constants: Any = importlib.import_module("huggingface_hub.constants")
    logging = load_transformers().utils.logging
    offline, verbosity, had_bars = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def as_model_errors(folder: LocalFolder) -> Iterator[None]:
    """Turn any error of a library into ModelError, for broken model files can cause any error.

    Raises DeviceError if memory runs out.
    """
    try:
        yield
    except CuratorError:
        raise
    except Exception as error:
        from curator_dask.models.device import is_out_of_memory  # imports torch, which finding a folder needs not

        if is_out_of_memory(error):
            raise DeviceError(f"{folder.path} does not fit into memory: {error}") from error
        raise ModelError(f"{folder.path} cannot be loaded: {type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _num_bytes: int, _changed_ns: int) -> str:
    """The hex digest of a file. It is cached while size and time stay the same, for files have gigabytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
