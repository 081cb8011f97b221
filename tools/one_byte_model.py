"""Make the ONNX file of a single product, with which numbers of one byte are multiplied.

    python -m tools.one_byte_model            # writes curator_dask/dedup/arrays/one_byte.onnx

It needs the package onnx, which users need not have. A test compares the file with what is made here.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from curator_dask.dedup.arrays.quick_products import MODEL, ZERO


def model() -> ModelProto:
    """``(rows - ZERO) @ columns * steps``, for rows (n, D) uint8, columns (D, k) int8 and steps (k,) float32."""
    value = helper.make_tensor_value_info
    inputs = [
        value("rows", TensorProto.UINT8, ["n", "d"]),
        value("columns", TensorProto.INT8, ["d", "k"]),
        value("steps", TensorProto.FLOAT, ["k"]),
    ]
    constants = {"one": np.array(1, np.float32), "zero": np.array(ZERO, np.uint8)}
    node = helper.make_node(
        "MatMulIntegerToFloat",
        ["rows", "columns", "one", "steps", "zero"],
        ["products"],
        domain="com.microsoft",
    )
    graph = helper.make_graph(
        [node],
        "one_byte",
        inputs,
        [value("products", TensorProto.FLOAT, ["n", "k"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


if __name__ == "__main__":
    MODEL.write_bytes(model().SerializeToString())
