"""A short part of the campaign of `make faults`, on the suite's workers, and what is made of its records."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import run as campaign
from benchmarks.faults.campaign import LINES
from benchmarks.faults.job import Job, differences
from benchmarks.faults.line import Asked, Came, Line, NotPossibleError
from benchmarks.faults.lines import damage, exact_calls, kills, large, packed, two_runs
from benchmarks.faults.records import add_record, read_records
from benchmarks.faults.reliability_page import page
from tests.running_workers import variables_for

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def job(tmp_path_factory, cluster) -> Job:
    folder = tmp_path_factory.mktemp("faults")
    job = Job(folder, cluster=(), environment=variables_for(cluster, folder))
    job.prepare()
    return job


@pytest.fixture
def asked(job, tmp_path) -> Asked:
    job.clear()
    return Asked(replace(job), 1, random.Random(0), tmp_path)


def test_a_killed_run_goes_on_to_the_same_bytes(asked):
    came = Came()
    kills.kill_run(asked, came, (), kills=1, own=False)
    assert came.faults == []
    assert came.done[kills.SAME] == 1


def test_of_two_runs_one_works_and_one_is_refused(asked):
    came = Came()
    two_runs.two_runs(asked, came, 0, asked.job.cluster)
    assert came.faults == []
    assert came.done["one worked, one was refused"] == 1
    assert came.done["the holder was named"] == 1


def test_damage_in_every_kind_of_file_at_once_is_repaired(asked):
    damage.copy_undisturbed(asked.job)
    came = Came()
    damage.repaired(asked.job, came, asked.chance)
    assert came.faults == []
    assert came.done["files of all kinds damaged at once"] > 50


def test_a_batch_of_markers_that_is_cut_off_is_found_and_its_units_are_done_again(asked):
    came = Came()
    packed.damage_one(asked.job, came, "cut off", asked.chance)
    assert came.faults == []
    assert came.done[packed.COUNTED] == 1


def test_damage_that_is_not_seen_is_a_fault(asked, monkeypatch):
    damage.copy_undisturbed(asked.job)
    monkeypatch.setattr(damage, "verify_output", lambda out: type("Found", (), {"findings": ()}))
    came = Came()
    damage.named(asked.job, came, asked.job.out / "clips.parquet", "cut off", asked.chance)
    assert came.faults == ["clips.parquet, cut off: verify named nothing"]
    assert asked.job.differs() == []


def test_differences_are_told():
    told = differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x", "d": "4"})
    assert told == ["1 missing: c", "1 extra: d", "1 other bytes: b"]


def test_a_line_that_fails_is_a_record_and_stops_no_other(asked, tmp_path):
    def fails(asked: Asked, came: Came) -> None:
        came.done["things done"] += 2
        raise OSError("a | b")

    def cannot(asked: Asked, came: Came) -> None:
        raise NotPossibleError("there is no disk")

    lines = (Line("fails", "It fails.", fails), Line("cannot", "It cannot.", cannot))
    for line in lines:
        add_record(tmp_path / "r.jsonl", campaign.run_line(line, asked))
    told = page(lines, read_records(tmp_path / "r.jsonl"))
    assert "| fails | 1 | things done: 2 | **1**: the line ended early: OSError('a / b')" in told
    assert "| cannot | - | left out: there is no disk | - |" in told


def test_names_of_lines_are_known():
    assert campaign.chosen_lines([]) == list(LINES)
    assert [line.name for line in campaign.chosen_lines(["soak"])] == ["soak"]
    with pytest.raises(SystemExit, match="there is no line soap: give some of run-killed, "):
        campaign.chosen_lines(["soap"])


def test_the_page_says_what_was_measured():
    written = Path(campaign.PAGE).read_text(encoding="utf-8")
    assert written == page(LINES, read_records(campaign.RECORDS)), (
        "run `make faults`, or write the page from its records"
    )


def test_a_run_that_ends_at_an_exact_call_goes_on_to_the_same_bytes(asked):
    came = Came()
    exact_calls.crash_runs_at_calls(asked, came)
    assert came.faults == []
    assert came.done["runs killed"] == 1
    [note] = came.notes
    assert int(note.split(" has ")[1].split()[0]) > 50  # all files that the run itself writes


def test_a_large_file_is_refused_within_bounds(asked, monkeypatch):
    monkeypatch.setattr(large, "OWN_WORKER", asked.job.cluster)
    came = Came()
    large.feed_large_files(asked, came, [file for file in large.FILES if file.name == "50 GB of zeros.mkv"])
    assert came.faults == []
    assert came.notes[0].startswith("50 GB of zeros.mkv: not-a-video; ")
