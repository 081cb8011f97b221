"""The files of an ONNX model: the graph, and the weights that it keeps in other files.

A model file is hostile until it is checked. It names its other files itself, so a crafted one could have any file of the
machine read as weights: only whole files below its own folder are allowed. Their digests are part of the fingerprint.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curator_dask.errors import ModelError
from curator_dask.models.base import JSON
from curator_dask.models.local_folder import LocalFolder

INSTALL = "pip install 'curator_dask[onnx]'"
MAX_GRAPH_BYTES = (2 << 30) - 1
"""A protobuf message cannot be larger; larger models keep their weights in other files."""


def load_library(name: str) -> Any:
    """The library onnx or onnxruntime. Raises ModelError where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"an ONNX model needs {name}, which cannot be imported ({error}): {INSTALL}") from error


def digests(path: Path) -> dict[str, JSON]:
    """The SHA-256 of a model file, and of the files with weights that it names.

    Raises ModelError if it is no ONNX file, or names a file that is not below its folder.
    """
    names = sorted({_checked(path, location) for location in _locations(path)})
    folder = LocalFolder(path.parent)
    return {"graph": folder.sha256(path.name)[path.name], "weights": folder.sha256(*names)}


def _locations(path: Path) -> Iterator[str]:
    """The names of all other files that hold numbers of the model, as they stand in it."""
    graph = _read_graph(path)
    for message in _messages(graph):
        if message.DESCRIPTOR.name == "TensorProto" and (message.external_data or message.data_location):
            yield {entry.key: entry.value for entry in message.external_data}.get("location", "")


def _read_graph(path: Path) -> Any:
    onnx = load_library("onnx")
    try:
        if path.stat().st_size > MAX_GRAPH_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size:,} bytes; an ONNX file has less than 2 GiB")
        graph = onnx.ModelProto.FromString(path.read_bytes())
    except ModelError:
        raise
    except Exception as error:  # protobuf has errors of its own
        raise ModelError(f"{path} cannot be read as an ONNX file: {error}") from error
    if not graph.graph.node:
        raise ModelError(f"{path} is no ONNX model: it has no graph, or an empty one")
    return graph


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all below it; of tensors, nothing below. Protobuf refuses more than a hundred levels."""
    yield message
    if message.DESCRIPTOR.name == "TensorProto":
        return  # to ask for its fields would copy its numbers
    for field, value in message.ListFields():
        if field.message_type is not None:
            for below in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(below)


def _checked(path: Path, location: str) -> str:
    """The name of a file with weights. Raises ModelError unless it is a file below the model's folder."""
    shown, folder = ascii(location)[:200], path.parent.resolve()
    try:
        target = (folder / location).resolve()
        inside = target.is_relative_to(folder) and not Path(location).is_absolute()
        there = inside and target.is_file()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} keeps weights in the file {shown}, which is no name of a file: {error}") from error
    if not inside:
        raise ModelError(f"{path} keeps weights in {shown}, which leads out of {folder}: only files below it are read")
    if not there:
        raise ModelError(f"{path} keeps weights in {shown}, which is not in {folder}: copy it there")
    return str(target.relative_to(folder))
