"""What the fork server imports before it starts commands: all that a run needs, as each import takes its time."""

import importlib
import pkgutil

import distributed  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.fft  # noqa: F401

import curator_dask

for module in pkgutil.walk_packages(curator_dask.__path__, "curator_dask."):
    if not module.name.endswith(("__main__", "_probe_child", "_tied_exec")):
        importlib.import_module(module.name)
