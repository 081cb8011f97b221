"""Workers that are killed in the middle of a stage cost nothing: the same bytes come out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from curator_dask import IncrementalStage, KMeansStage
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify import recall
from curator_dask.stages.incremental import assign_new
from curator_dask.stages.kmeans import held
from tests.dedup.reference import random_unit
from tests.stages import builders
from tests.trees import results

NUM_OLD, NUM_NEW = 400, 200


class Killer(SilentReporter):
    """Kills a worker when pairwise has done its first piece, and where it is told to."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.killed: list[str] = []
        self.stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def advance(self, count: int = 1) -> None:
        if count and self.stage == "pairwise":
            self.kill(self.stage)

    def kill(self, where: str) -> None:
        if where not in self.killed:
            self.killed.append(where)
            pids = self.client.run(os.getpid, on_error="return").values()
            os.kill(next(pid for pid in pids if isinstance(pid, int)), signal.SIGKILL)

    def then(self, where: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, and then a death: what workers wrote for others has to be there without them."""

        def worked(*arguments: Any) -> Any:
            found = work(*arguments)
            self.kill(where)
            return found

        return worked

    def after(self, where: str, hold: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, and then a death: workers may have the value already, or not yet."""

        def held(client: Client, value: Any) -> Any:
            future = hold(client, value)
            client.submit(type, future, pure=False).result()
            self.kill(where)
            return future

        return held


@pytest.fixture
def mortal() -> Iterator[LazyCluster]:
    with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vectors")
    X = random_unit(NUM_OLD + NUM_NEW, 8, 3, copies=0.5, noise=0.05)
    for number in range(4):  # several chunks
        ids = range(number * 100, number * 100 + 100)
        builders.write_vectors(root / "old" / f"{number}.parquet", ids, X[ids.start : ids.stop])
    builders.write_vectors(root / "new" / "a.parquet", range(NUM_OLD, NUM_OLD + NUM_NEW), X[NUM_OLD:])
    return root


def run_all(source: Path, out: Path, context: RunContext) -> dict[str, str]:
    builders.score_vectors(source / "old", out, context, 3)
    builders.identify_duplicates(out, context, eps=0.05, recall_sample=50)
    paths = {"kmeans_path": str(out / "k"), "duplicates_path": str(out / "d"), "output_path": str(out / "n")}
    IncrementalStage(input_path=str(source / "new"), **paths).run(context=context)
    return results(out)


def test_workers_lost_in_every_stage_cost_nothing(source, context, mortal, monkeypatch, tmp_path):
    expected = run_all(source, tmp_path / "one", context)
    killer = Killer(mortal.client)
    for module, where in ((held, "centres"), (recall, "sample")):
        monkeypatch.setattr(module, "hold", killer.after(where, module.hold))
    share = killer.then("known ids", assign_new.share_known_ids)
    monkeypatch.setattr(assign_new, "share_known_ids", share)
    assert run_all(source, tmp_path / "two", RunContext(mortal, killer)) == expected
    assert killer.killed == ["centres", "pairwise", "sample", "known ids"]


def test_a_cluster_without_workers_is_waited_for(source, context, tmp_path):
    KMeansStage(3, input_path=str(source / "old"), output_path=str(tmp_path / "one")).run(context=context)
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as empty,
        Client(empty, set_as_default=False) as client,
    ):
        said: list[str] = []

        def start_one(text: str) -> None:
            """A worker comes once the stage has said that it waits."""
            said.append(text)
            empty.scale(1)

        lazy = LazyCluster.of(client)
        lazy.on_start = start_one
        KMeansStage(3, input_path=str(source / "old"), output_path=str(tmp_path / "two")).run(context=RunContext(lazy))
    assert said == ["the Dask cluster has no workers now: waiting up to 300 s for some"]
    assert results(tmp_path / "two") == results(tmp_path / "one")
