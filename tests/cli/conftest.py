"""The commands of these tests use workers that run already, because starting workers takes most of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curator_dask.runtime.cluster import LazyCluster
from tests.running_workers import variables_for


@pytest.fixture(scope="module", autouse=True)
def running_workers(cluster: LazyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables_for(cluster, tmp_path_factory.mktemp("keys")).items():
            patch.setenv(name, value)
        yield
