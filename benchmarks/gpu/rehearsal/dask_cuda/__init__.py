"""Stands for dask-cuda in a rehearsal: a local cluster whose workers believe to have a device each."""

from __future__ import annotations

from typing import Any

from distributed import LocalCluster

__version__ = "0 (a stand-in)"
_OF_DEVICES = (
    "rmm_async",
    "rmm_release_threshold",
    "rmm_allocator_external_lib_list",
    "enable_cudf_spill",
    "pre_import",
)


class LocalCUDACluster(LocalCluster):
    def __init__(self, **options: Any) -> None:
        kept = {name: value for name, value in options.items() if name not in _OF_DEVICES}
        super().__init__(**kept, env={"CUDA_VISIBLE_DEVICES": "0"})
