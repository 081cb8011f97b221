"""Check the folder of a released Cosmos-Embed1 before the Python code in it, which defines the network, is run.

Each check detects a known cause of failed loading, and its message names the remedy. The libraries' own messages rarely
do.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curator_dask.errors import ModelError
from curator_dask.files.temporary.temporary_folders import lasting_folder, temporary_folder
from curator_dask.models.base import JSON
from curator_dask.models.local_folder import LocalFolder, load_transformers

MODEL_TYPE = "cosmos-embed1"
LAST_OLD_TRANSFORMERS = "4.55.4"
_OPTIONAL = ("transformer_engine",)
_CODE_PLACES = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_BERT = re.compile(r"""["']((?:google-bert/)?bert-base-uncased)["']""")


def check_folder(folder: LocalFolder) -> None:
    """Raise ModelError, with the remedy, if there is a known reason why the folder's code cannot load."""
    config = folder.read_json("config.json")
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError(f"{folder.path} is a model of type {config.get('model_type')!r}, not {MODEL_TYPE!r}")
    if not folder.has_safetensors:
        raise ModelError(f"{folder.path} has no .safetensors; get the folder as it was released")
    folder.first_of("processor_config.json")
    for name in code_files(folder):
        _check_imports(folder, name)


def code_files(folder: LocalFolder) -> list[str]:
    """The names of the Python files directly in the folder, sorted. Any of them may be run."""
    return sorted(path.name for path in folder.path.glob("*.py") if path.name != "convert_weights.py")


@contextlib.contextmanager
def linked_copy(folder: LocalFolder) -> Iterator[LocalFolder]:
    """Make a temporary copy to load from, with links to the large files. Raises ModelError if the folder lacks the code.

    The copy's name has a digest of the code, because some versions of transformers identify code by the folder's name
    alone, and would mix it with other code from a folder of that name. The copy's configuration names the code in the
    folder: for ``repository--module.Class``, as it may be saved, transformers asks the hub.
    """
    digest = hashlib.sha256(repr(folder.sha256(*code_files(folder))).encode()).hexdigest()[:16]
    with temporary_folder() as parent:
        copy = parent / f"{folder.path.name}-{digest}"
        copy.mkdir()
        for path in folder.path.iterdir():
            if path.name in _CODE_PLACES:
                raw = folder.read_json(path.name)
                local = {"auto_map": _localise(folder, raw["auto_map"])} if "auto_map" in raw else {}
                (copy / path.name).write_text(json.dumps({**raw, **local}))
            elif path.suffix == ".py":
                shutil.copyfile(path, copy / path.name)
            else:
                (copy / path.name).symlink_to(path)
        yield LocalFolder(copy)


def class_of(folder: LocalFolder, name: str, role: str) -> Any:
    """The class in the folder's code that the file `name` gives for `role` (``AutoModel``, …).

    The Auto classes are not used, because they remember the first code they loaded and use it for other folders too.
    """
    auto_map = folder.read_json(name).get("auto_map")
    place = auto_map.get(role) if isinstance(auto_map, dict) else None
    if not isinstance(place, str):
        raise ModelError(f"{folder.path / name} names no code for {role} (auto_map)")
    dynamic: Any = importlib.import_module("transformers.dynamic_module_utils")
    return dynamic.get_class_from_dynamic_module(place, str(folder.path), local_files_only=True)


@contextlib.contextmanager
def private_code_cache() -> Iterator[None]:
    """Let transformers copy the code that it runs to a folder of this process alone.

    Its usual folder, in the user's cache, is filled file by file without a lock: a worker could import a file that
    another worker has half written.
    """
    dynamic: Any = importlib.import_module("transformers.dynamic_module_utils")
    usual = dynamic.HF_MODULES_CACHE
    dynamic.HF_MODULES_CACHE = _code_cache()
    try:
        yield
    finally:
        dynamic.HF_MODULES_CACHE = usual


@functools.cache
def _code_cache() -> str:
    """The folder for code. It is kept until the process ends, because code may import other files late."""
    path = lasting_folder()
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return str(path)


def _localise(folder: LocalFolder, auto_map: JSON) -> JSON:
    """Remove the repository before ``--`` from the classes of an auto_map."""
    if isinstance(auto_map, dict):
        return {key: _localise(folder, place) for key, place in auto_map.items()}
    if isinstance(auto_map, list):
        return [_localise(folder, place) for place in auto_map]
    if not isinstance(auto_map, str):
        return auto_map
    place = auto_map.rpartition("--")[2]
    module = place.partition(".")[0]
    if not (folder.path / f"{module}.py").is_file():
        raise ModelError(f"{folder.path} has no {module}.py, the code that its configuration names ({auto_map})")
    return place


def _check_imports(folder: LocalFolder, name: str) -> None:
    """Raise ModelError if the file imports a package, or a name from transformers, that is not installed."""
    for node in _imports(folder.path / name):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _require_package(folder, name, alias.name)
        elif node.level == 0 and node.module:
            _require_package(folder, name, node.module)
            if node.module.split(".")[0] == "transformers":
                _require_names(folder, name, node.module, [alias.name for alias in node.names])


def _imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The imports on the file's top level. Imports within ``try``, ``if`` and functions may be optional."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no Python file: {error}") from error
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _require_package(folder: LocalFolder, name: str, module: str) -> None:
    package = module.split(".")[0]
    if package in _OPTIONAL or (folder.path / f"{package}.py").is_file() or importlib.util.find_spec(package):
        return
    raise ModelError(f"{package} missing: {folder.path / name} imports it; pip install {package}, on every worker")


def _require_names(folder: LocalFolder, name: str, module: str, wanted: list[str]) -> None:
    transformers = load_transformers()
    try:
        there = importlib.import_module(module)
        absent = [item for item in wanted if item != "*" and not hasattr(there, item)]
    except ImportError:
        absent = wanted
    if absent:
        raise ModelError(
            f"{folder.path / name} imports {', '.join(absent)} from {module}, which transformers "
            f"{transformers.__version__} does not have; {version_hint()}"
        )


def version_hint() -> str:
    """The remedy if the code does not work with the installed transformers."""
    return (
        f"pip install 'transformers=={LAST_OLD_TRANSFORMERS}', or get a newer revision of the model's folder, "
        "made for newer versions"
    )


def absent_lookups(folder: LocalFolder) -> list[str]:
    """A remedy per configuration that the code fetches by name, even when it is told to use local files only."""
    from huggingface_hub import constants, try_to_load_from_cache

    code = "".join((folder.path / name).read_text("utf-8", "replace") for name in code_files(folder))
    return [
        f"its code looks up the configuration of {repository}, which is not in {constants.HF_HUB_CACHE}: where there is "
        f"a network, run: hf download {repository} config.json; set HF_HOME to that cache"
        for repository in sorted(set(_BERT.findall(code)))
        if not isinstance(try_to_load_from_cache(repository, "config.json"), str)
    ]
