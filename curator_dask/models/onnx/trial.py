"""Open a model file in a child process first: what crashes onnxruntime, or never ends, then costs a message and no run."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path

from curator_dask.errors import DeviceError, MediaError, ModelError, ParameterError
from curator_dask.video.process import sandbox

TIMEOUT_S = 600.0
"""Enough to load gigabytes and to look at two pictures."""
_ERRORS = {error.__name__: error for error in (DeviceError, ModelError, ParameterError)}
_CHILD = "curator_dask.models.onnx.child"


@functools.lru_cache(maxsize=16)
def try_in_child(path: Path, device: str, settings: str, _digests: str) -> None:
    """Load the model and let it see two pictures of noise, in a child process; once for the same bytes.

    Raises what loading raises there, and ModelError if the process dies or does not end.
    """
    arguments = [sys.executable, "-P", "-m", _CHILD, str(path), device, settings]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    try:
        done = sandbox.run(arguments, timeout_s=TIMEOUT_S, memory_limit_bytes=None, env=environment)
    except MediaError as error:
        raise ModelError(
            f"{path}: onnxruntime had not run this model for two pictures after {TIMEOUT_S:g} s"
        ) from error
    _raise_error_of(path, done)


def _raise_error_of(path: Path, done: sandbox.Finished) -> None:
    if done.returncode != 0:
        last = (done.stderr_tail.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise ModelError(f"{path} makes onnxruntime crash (exit status {done.returncode}): {last}")
    said = json.loads(done.stdout)
    if said:
        raise _ERRORS[said["error"]](said["message"])
