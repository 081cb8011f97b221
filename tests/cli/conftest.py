"""The commands of these tests use workers that run already, because starting workers takes most of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curator_dask.runtime.cluster import LazyCluster


@pytest.fixture(scope="package", autouse=True)
def running_workers(cluster: LazyCluster) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATOR_DASK_SCHEDULER_ADDRESS", cluster.client.scheduler.address)
        yield
