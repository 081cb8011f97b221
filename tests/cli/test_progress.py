"""Progress: something is said at once, how much is done and how long the rest takes."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from curator_dask.cli.output import progress_bars
from curator_dask.cli.output.progress_bars import BarReporter, LogReporter, make_reporter
from curator_dask.cli.output.time_left import Pace, duration_text, left_text
from curator_dask.runtime import cluster as cluster_module
from curator_dask.runtime.cluster import LazyCluster


def pace(total: int, before: int, now: int) -> Pace:
    made = Pace(total, began_s=100.0)
    made.advance(before)
    made.advance(now)
    return made


@pytest.mark.parametrize(
    ("total", "before", "now", "at_s", "expected"),
    [
        pytest.param(10, 0, 5, 160.0, 60.0, id="half is done in a minute"),
        pytest.param(110, 100, 5, 160.0, 60.0, id="earlier runs say nothing of the pace"),
        pytest.param(10, 0, 5, 280.0, 180.0, id="it grows while nothing ends"),
        pytest.param(10, 0, 2, 160.0, None, id="too few"),
        pytest.param(10, 0, 5, 101.0, None, id="too early"),
        pytest.param(10, 5, 5, 160.0, None, id="nothing is left"),
    ],
)
def test_the_time_left(total, before, now, at_s, expected):
    assert pace(total, before, now).left_s(at_s) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0.2, "about 5 s left"), (61.0, "about 60 s left"), (100.0, "about 2 min left"), (9000.0, "about 2.5 h left")],
)  # fmt: skip
def test_times_are_told_as_roughly_as_they_are_known(seconds, expected):
    assert left_text(seconds, "videos") == expected


def test_iterations_may_end_early():
    assert left_text(120.0, "iterations") == "at most 2 min left"


def test_durations():
    assert [duration_text(seconds) for seconds in (0, 59.6, 3661)] == ["0:00:00 h", "0:01:00 h", "1:01:01 h"]


class TestLogs:
    """A log file gets a line when work begins, and one every half minute."""

    @pytest.fixture
    def clock(self, monkeypatch) -> list[float]:
        now = [0.0]
        monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
        return now

    def test_lines(self, clock, capsys):
        reporter = LogReporter()
        reporter.start("split", 100, "videos")
        reporter.advance(20)
        for done in range(1, 81):
            clock[0] = float(done)
            reporter.add_video(90.0)
            reporter.advance()
        reporter.finish()
        assert capsys.readouterr().err.splitlines() == [
            "split: 20 of 100 videos",
            "split: 50 of 100 videos, 0:45:00 h of video, about 50 s left",
            "split: 80 of 100 videos, 1:30:00 h of video, about 20 s left",
        ]

    def test_a_finished_stage_says_nothing(self, clock, capsys):
        reporter = LogReporter()
        reporter.start("split", 3, "videos")
        reporter.advance(3)
        reporter.finish()
        assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_counts_video_and_what_begins():
    written = io.StringIO()
    reporter = BarReporter(Console(file=written, force_terminal=True, width=120))
    reporter.start("split", 3, "videos")
    reporter.advance(0)
    reporter.say("starting workers")
    reporter.add_video(75.0)
    reporter.advance()
    reporter.finish()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert "starting workers" in shown
    assert re.search(r"split .*1/3 videos .*0:01:15 h of video", shown)


def test_the_start_of_workers_is_said_before_they_start(monkeypatch):
    said: list[str] = []

    def start(*_: object) -> None:
        said.append("now they start")
        raise InterruptedError

    monkeypatch.setattr(cluster_module, "dask_client", start)
    with pytest.raises(InterruptedError):
        _ = LazyCluster(on_start=said.append).client
    assert said == ["starting workers", "now they start"]


def test_a_quiet_command_says_nothing(capsys):
    reporter = make_reporter(quiet=True)
    reporter.start("split", 3, "videos")
    reporter.say("starting workers")
    reporter.note("be careful")
    reporter.advance(1)
    reporter.finish()
    assert capsys.readouterr() == ("", "")
