"""Small ONNX models with fixed random weights: one convolution, ReLU, and a mean over all places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.left_out import NO_ONNX

SIDE_PX = 32
DIMENSION = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
YAML = "mean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]\n"


def require_libraries() -> None:
    """Skip the test where onnx or onnxruntime is not installed."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason=NO_ONNX)


def weights() -> np.ndarray:
    """(8, 3, 3, 3) float32."""
    return np.random.default_rng(5).normal(size=(DIMENSION, 3, 3, 3)).astype(np.float32)


def write_model(
    path: Path,
    *,
    batch: int | str = "n",
    side: int | str = SIDE_PX,
    layout: str = "NCHW",
    dtype: str = "FLOAT",
    ending: str = "vector",
    external: str | None = None,
    yaml: str | None = YAML,
) -> Path:
    """Write a model, and `yaml` beside it.

    Args:
        batch: the length of the first axis of its input; a name for any.
        side: the same for height and width.
        ending: ``vector`` (N, 8), ``map`` (N, 8, H, W) or ``tokens`` (N, H * W, 8); ``two`` has the outputs of the first two.
        external: the name of another file for the weights.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, dtype)
    shape = [batch, 3, side, side] if layout == "NCHW" else [batch, side, side, 3]
    nodes, x = [], "pixels"
    if dtype != "FLOAT":
        nodes.append(helper.make_node("Cast", [x], ["as_float"], to=TensorProto.FLOAT))
        x = "as_float"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [x], ["nchw"], perm=[0, 3, 1, 2]))
        x = "nchw"
    nodes.append(helper.make_node("Conv", [x, "weights"], ["conv"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["conv"], ["map"]))
    constants = [numpy_helper.from_array(weights(), "weights")]
    vector = [
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    constants += [numpy_helper.from_array(np.array([0, DIMENSION, -1]), "rows")] if ending == "tokens" else []
    tokens = [
        helper.make_node("Reshape", ["map", "rows"], ["long"]),
        helper.make_node("Transpose", ["long"], ["tokens"], perm=[0, 2, 1]),
    ]
    nodes += {"vector": vector, "map": [], "tokens": tokens, "two": vector}[ending]
    shapes = {"vector": [batch, DIMENSION], "map": [batch, DIMENSION, side, side], "tokens": [batch, None, DIMENSION]}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
        for name in (("vector", "map") if ending == "two" else (ending,))
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("pixels", kind, shape)], outputs, constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if external is None:
        onnx.save(model, path)
    else:
        onnx.save_model(model, path, save_as_external_data=True, location=external, size_threshold=0)
    if yaml is not None:
        path.with_name(f"{path.name}.yaml").write_text(yaml, encoding="utf-8")
    return path


def feature_maps(frames: np.ndarray, mean: tuple = MEAN, std: tuple = STD) -> np.ndarray:
    """(T, H, W, 3) uint8 RGB → (T, 8, H, W): what the model computes, in plain torch and double precision."""
    import torch

    pixels = (torch.from_numpy(frames.astype(np.float64)) / 255 - torch.tensor(mean)) / torch.tensor(std)
    kernel = torch.from_numpy(weights().astype(np.float64))
    return torch.relu(torch.nn.functional.conv2d(pixels.permute(0, 3, 1, 2), kernel, padding=1)).numpy()
