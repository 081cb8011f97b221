"""Progress in a notebook: what the cell shows while a stage runs, and when it has ended."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from curator_dask.runtime import cluster as cluster_module
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.progress import SilentReporter
from curator_dask.stages import notebook_progress
from curator_dask.stages.base import RunContext
from curator_dask.stages.notebook_progress import CellReporter


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a cell would show: every state of its lines, one after another."""
    found: list[dict[str, str]] = []

    def display(content: dict[str, str], **_: Any) -> SimpleNamespace:
        found.append(content)
        return SimpleNamespace(update=lambda content, **_: found.append(content))

    monkeypatch.setattr(importlib.import_module("IPython.display"), "display", display)
    monkeypatch.setattr(notebook_progress, "UPDATE_AFTER_S", 0.0)
    return found


def test_a_stage_is_one_line_that_ends_with_its_time(shown: list[dict[str, str]]) -> None:
    reporter = CellReporter()
    reporter.start("split", 3, "videos")
    reporter.advance(2)
    reporter.finish()
    assert [content["text/plain"] for content in shown[:2]] == ["split: 0 of 3 videos", "split: 2 of 3 videos"]
    assert '<progress max="3" value="2"' in shown[1]["text/html"]
    assert shown[2]["text/plain"].startswith("split: 2 of 3 videos in 0.")
    assert "progress" not in shown[2]["text/html"]


def test_a_stage_without_work_shows_nothing(shown: list[dict[str, str]]) -> None:
    reporter = CellReporter()
    reporter.start("split", 0, "videos")
    reporter.advance(0)
    reporter.finish()
    assert not shown


def test_what_begins_is_shown_until_something_is_done(shown: list[dict[str, str]]) -> None:
    reporter = CellReporter()
    reporter.say("starting <workers>")
    reporter.start("split", 3, "videos")
    reporter.say("loading the model")
    reporter.advance(0)
    reporter.advance(1)
    reporter.finish()
    assert shown[0] == {"text/plain": "starting <workers>", "text/html": "starting &lt;workers&gt;"}
    texts = [content["text/plain"] for content in shown[1:5]]
    assert texts == ["split: 0 of 3 videos", *["split: 0 of 3 videos · loading the model"] * 2, "split: 1 of 3 videos"]


def test_a_notebook_sees_that_workers_start(shown: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(cluster_module, "dask_client", start)
    context = RunContext(LazyCluster(), CellReporter())
    with pytest.raises(InterruptedError):
        _ = context.cluster.client
    assert [content["text/plain"] for content in shown] == ["starting workers"]


@pytest.mark.parametrize(
    ("shell", "kind"),
    [(SimpleNamespace(kernel=object()), CellReporter), (SimpleNamespace(), SilentReporter), (None, SilentReporter)],
    ids=["notebook", "IPython in a terminal", "Python"],
)
def test_only_a_kernel_is_told(shell: object, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert type(RunContext().reporter) is kind
