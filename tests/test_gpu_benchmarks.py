"""The GPU benchmarks without a GPU: a rehearsal with stand-ins, steps that hang or fail, and what is made of results."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu import save as saving
from benchmarks.gpu.calls import Call, calls, done_parts, held_pieces
from benchmarks.gpu.records import Record
from benchmarks.gpu.run import ask_machine, environment_of, left_out, run_part
from benchmarks.gpu.save import commit, save
from benchmarks.gpu.steps import GROUPS, PART_S, PARTS, Step, chosen
from benchmarks.gpu.unpack import unpack

ROOT = Path(__file__).resolve().parents[1]
DEVICE = {"modules": ["numpy"], "missing": ""}
MIB = 1 << 20


def rehearse(out: Path, *parts: str) -> list[dict]:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.run", "--rehearsal", "--out", str(out), *parts],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    return lines_of(out)


def lines_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_kernels_are_rehearsed(tmp_path):
    steps = [f"kernels:{name}" for name in ("lloyd", "tiles", "pairwise", "alignment")]
    lines = rehearse(tmp_path, *steps)
    assert lines[0]["rehearsal"]
    assert {line["status"] for line in lines if line["kind"] == "step"} == {"ok"}
    compared = [line["agrees"] for line in lines if line["kind"] == "record" and line["agrees"] is not None]
    assert all(compared)
    assert len(compared) == 21
    told = (tmp_path / "tables.md").read_text()
    assert "### kernels" in told
    assert "| tiles | tf32, D = 1024: largest error | 0.001983 | ≤ 0.0022 met | yes |" in told


def test_steps_are_whole():
    for steps in PARTS.values():
        assert all(step.limit_s <= PART_S for step in steps)
        assert all(importlib.util.find_spec(step.command[0]) for step in steps)
    assert {part for parts in GROUPS.values() for part in parts} == set(PARTS)
    with pytest.raises(ValueError, match=r"there is no 'kernel': give some of kernels, models"):
        chosen(["kernel"])


PROGRAMS = {
    "hangs": """
        import subprocess, sys, time
        from benchmarks.gpu.records import tell
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        tell("child", child.pid)
        time.sleep(60)
        """,
    "breaks": "raise OSError('no such card')",
    "crashes": "import os, signal; print('so far', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
    "says_nothing": "",
    "fills": "raise MemoryError('Out of memory allocating 20,480,000,000 bytes')",
    "pytest": "print('6 skipped in 0.12s')",
    "differs": "from benchmarks.gpu.records import tell; tell('sum', 3, agrees=False)",
    "misses": "from benchmarks.gpu.records import tell; tell('speed', 0.5, at_least=0.6, agrees=True)",
}


@pytest.fixture
def part(tmp_path, monkeypatch):
    """Runs steps of these programs as one part on a machine with a device; returns how many failed, and the lines."""
    for name, program in PROGRAMS.items():
        body = "\n".join(line.removeprefix(" " * 8) for line in program.strip("\n").splitlines())
        (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(*steps: Step):
        failed = run_part("part", steps, tmp_path, environment_of(False), DEVICE, rehearsal=False)
        return failed, lines_of(tmp_path)

    return run


def step(name: str, limit_s: int = 30, needs: tuple[str, ...] = ()) -> Step:
    return Step(name, limit_s, needs, (name,))


def test_a_step_that_fails_stops_no_other(part, tmp_path, capsys):
    failed, lines = part(
        step("hangs", 6),
        step("breaks"),
        step("crashes"),
        step("says_nothing"),
        step("fills"),
        step("pytest"),
        step("misses", needs=("cudf",)),
        step("differs"),
        step("misses"),
    )
    ends = [(line["step"], line["status"], line["why"]) for line in lines if line["kind"] == "step"]
    assert ends == [
        ("hangs", "killed", "after 6 s"),
        ("breaks", "failed", "status 1: OSError: no such card"),
        ("crashes", "failed", "died of SIGSEGV: so far"),
        ("says_nothing", "failed", "it ended without a result: it said nothing"),
        ("fills", "failed", "status 1: MemoryError: Out of memory allocating 20,480,000,000 bytes"),
        ("pytest", "failed", "it ended without a result: 6 skipped in 0.12s"),
        ("misses", "left out", "cudf cannot be imported"),
        ("differs", "wrong", "sum"),
        ("misses", "ok", ""),
    ]
    assert failed == 7
    (child,) = [int(line["value"]) for line in lines if line["kind"] == "record" and line["what"] == "child"]
    assert has_ended(child)
    assert "| misses | speed | 0.5 | ≥ 0.6 **missed** | yes |" in capsys.readouterr().out
    assert "no such card" in (tmp_path / "logs.txt").read_text()


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only its entry is left for its parent to read."""
    for _ in range(100):
        path = Path(f"/proc/{pid}/stat")
        if not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_no_part_takes_longer_than_its_time(part, monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.run.PART_S", 4)
    begun = time.monotonic()
    _, lines = part(step("hangs"), step("misses"))
    assert [(line["status"], line["why"]) for line in lines if line["kind"] == "step"] == [
        ("killed", "after 4 s"), ("left out", "the 4 s of the part were over"),
    ]  # fmt: skip
    assert time.monotonic() - begun < 15


def test_a_run_that_is_ended_from_outside_tells_what_it_has(tmp_path):
    """The step is killed, and the table shows the steps that had ended."""
    steps = ["kernels:alignment", "kernels:pairwise"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu.run", "--rehearsal", "--out", str(tmp_path), *steps],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
    ) as runner:  # fmt: skip
        while "pairwise" not in ((tmp_path / "logs.txt").read_text() if (tmp_path / "logs.txt").exists() else ""):
            time.sleep(0.05)
        runner.terminate()
        assert runner.wait(30) == 128 + signal.SIGTERM
    told = (tmp_path / "tables.md").read_text()
    assert "| alignment | ok |" in told
    assert "| pairwise | **killed**: the whole run was ended |" in told


def told_by_a_machine_with(folder: Path, **modules: str) -> dict:
    for name, program in modules.items():
        (folder / f"{name}.py").write_text(program)
    return ask_machine({**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"})


TORCH = """
from types import SimpleNamespace
cuda = SimpleNamespace(mem_get_info=lambda: (3 << 30, 4 << 30), get_device_name=lambda _: "a small card")
"""


def test_a_machine_without_cupy_is_asked_by_torch(tmp_path):
    told = told_by_a_machine_with(tmp_path, cupy="raise ImportError('libcublas.so.13')", torch=TORCH)
    assert told["missing"] == ""
    assert told["told"].startswith("a small card; 3.0 of 4.0 GiB free; driver unknown")


def test_a_machine_that_cannot_be_asked(tmp_path, monkeypatch):
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    machine = told_by_a_machine_with(tmp_path, cupy=crash)
    assert machine["missing"] == "the machine cannot be asked: died of SIGSEGV: it said nothing"
    assert left_out(PARTS["kernels"][0], machine) == machine["missing"]
    monkeypatch.setattr("benchmarks.gpu.run.ASK_S", 0.5)
    machine = told_by_a_machine_with(tmp_path, cupy="import time; time.sleep(60)")
    assert machine["missing"].startswith("the machine does not say within")


def test_without_a_device_all_is_left_out(tmp_path):
    machine = {"modules": ["cupy"], "missing": "no device: the driver does not answer"}
    failed = run_part("kernels", PARTS["kernels"][:2], tmp_path, environment_of(False), machine, rehearsal=False)
    assert failed == 0
    assert [line["why"] for line in lines_of(tmp_path)] == [machine["missing"]] * 2


SIZES = {"site/part.0": 56 * MIB, "site/part.1": 20 * MIB, "rapids/part.0": 56 * MIB, "rapids/part.1": 7 * MIB}
FIRST = ("kernels", "models")
AFTER = [Call((), ("rapids-tests", "workflow")), Call((), ("large-512", "large-1536"))]


@pytest.mark.parametrize(("sizes", "done", "held", "expected"), [
    ({}, (), (), [Call((), FIRST)]),
    (SIZES, (), (), [
        Call(("site/part.0",), FIRST), Call(("site/part.1", "rapids/part.1"), ("embed",)),
        Call(("rapids/part.0",), ("rapids", "files")), *AFTER,
    ]),
    (SIZES, (*FIRST, "embed"), ("site/part.0", "site/part.1", "rapids/part.1"), [
        Call(("rapids/part.0",), ("rapids", "files")), *AFTER,
    ]),
    (SIZES, (*(part for part in PARTS if part != "large-1536"),), tuple(SIZES), [Call((), ("large-1536",))]),
    (SIZES, (), tuple(SIZES), [
        Call((), (*FIRST, "embed")), Call((), ("rapids", "files")), *AFTER,
    ]),
    (SIZES, tuple(PARTS), (), []),
], ids=["no archives", "at first", "the second half", "the rest", "all is there", "nothing left"])  # fmt: skip
def test_the_calls_that_are_left(sizes, done, held, expected):
    assert calls(sizes, frozenset(done), frozenset(held)) == expected


def test_calls_follow_from_results():
    lines = [
        {"kind": "machine", "pieces": ["site/part.0"]},
        {"kind": "step", "part": "embed", "step": "share", "status": "failed"},
        {"kind": "step", "part": "workflow", "step": "workflow", "status": "left out"},
        {"kind": "machine", "pieces": ["site/part.1"]},
    ]
    assert done_parts(lines) == {"embed"}
    assert held_pieces(lines) == {"site/part.1"}
    assert held_pieces([]) == done_parts([]) == frozenset()


def machine(at: str, **more) -> dict:
    return {"kind": "machine", "at": at, "rehearsal": False, "device": "NVIDIA H100 80GB", "told": "an H100", **more}


def record(value: float, at_least: float) -> dict:
    told = Record("share", value, "of the GEMM", f"≥ {at_least}", value >= at_least, True)
    return {"kind": "record", "part": "kernels", "step": "pairwise", **vars(told)}


def ended(status: str = "ok", why: str = "") -> dict:
    return {"kind": "step", "part": "kernels", "step": "pairwise", "status": status, "why": why, "seconds": 1.0}


def test_results_are_kept_once_and_the_latest_is_shown(tmp_path):
    first = [machine("2026-11-27T01:00:00"), record(0.5, 0.6), ended()]
    second = [machine("2026-11-27T01:05:00"), record(0.7, 0.6), ended()]
    third = [machine("2026-11-27T01:09:00"), ended("left out", "cupy cannot be imported")]
    raw, table = save(first, tmp_path)
    assert "| pairwise | share | 0.5 of the GEMM | ≥ 0.6 **missed** | yes |" in table.read_text()
    assert save(second + third, tmp_path) == [raw, table]
    assert save(second, tmp_path) == [raw, table]
    assert len(raw.read_text().splitlines()) == 8
    assert table.read_text().startswith("# On a GPU, NVIDIA H100 80GB, 2026-11-27\n\nan H100\n")
    assert "| pairwise | share | 0.7 of the GEMM | ≥ 0.6 met | yes |" in table.read_text()
    assert table.read_text().count("| pairwise |") == 2
    assert raw.name == "gpu_nvidia_h100_80gb_2026-11-27.jsonl"


@pytest.mark.parametrize(("line", "told"), [
    (machine("2026-11-27T01:00:00") | {"rehearsal": True}, "was a rehearsal"),
    ({"kind": "machine", "at": "2026-11-27T01:00:00", "rehearsal": False, "missing": "no driver"}, "no device: no driver"),
], ids=["rehearsal", "no device"])  # fmt: skip
def test_what_is_no_result(tmp_path, line, told):
    with pytest.raises(SystemExit, match=told):
        save([line], tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "ROOT", tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(save([machine("2026-11-27T01:00:00"), record(0.7, 0.6), ended()], tmp_path))
    log = subprocess.run(
        ["git", "log", "--name-only", "--format=%s"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert log.stdout.split("\n\n")[0] == "Measured on a GPU: nvidia_h100_80gb_2026-11-27"
    assert [Path(name).suffix for name in log.stdout.split()[-2:]] == [".jsonl", ".md"]


@pytest.fixture
def brought(tmp_path) -> Path:
    """An archive in three parts, as it is brought to a machine."""
    folder = tmp_path / ".gpu" / "site"
    folder.mkdir(parents=True)
    (tmp_path / "tool.py").write_text("print('here')")
    with tarfile.open(tmp_path / "whole.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "tool.py", "./tool.py")
    data = (tmp_path / "whole.tar.xz").read_bytes()
    third = len(data) // 3
    sums = []
    for number, piece in enumerate((data[:third], data[third : 2 * third], data[2 * third :])):
        (folder / f"part.{number}").write_bytes(piece)
        sums.append(f"{hashlib.sha256(piece).hexdigest()}  .gpu/site/part.{number}\n")
    (tmp_path / ".gpu" / "parts.txt").write_text("".join(sums))
    return tmp_path / ".gpu"


def test_parts_that_come_one_by_one(brought, tmp_path):
    kept, later = tmp_path / "kept", tmp_path / "part.1"
    (brought / "site" / "part.1").rename(later)
    assert unpack(brought, kept) == ["site/part.0 is here", "site/part.2 is here"]
    assert not (kept / "site").exists()
    later.rename(brought / "site" / "part.1")
    assert unpack(brought, kept) == ["site/part.1 is here", "site is unpacked"]
    assert (kept / "site" / "tool.py").read_text() == "print('here')"
    assert unpack(brought, kept) == unpack(tmp_path / "nothing", kept) == []


def test_another_archive_takes_the_place_of_the_first(brought, tmp_path):
    kept = tmp_path / "kept"
    unpack(brought, kept)
    with tarfile.open(brought / "site" / "part.0", "w:xz") as archive:
        archive.add(tmp_path / "tool.py", "./other.py")
    digest = hashlib.sha256((brought / "site" / "part.0").read_bytes()).hexdigest()
    (brought / "parts.txt").write_text(f"{digest}  .gpu/site/part.0\n")
    assert unpack(brought, kept) == ["site/part.0 is here", "site is unpacked"]
    assert (kept / "site" / "other.py").exists()
    assert not (kept / "site" / "tool.py").exists()


def test_a_damaged_part(brought, tmp_path):
    whole = (brought / "site" / "part.1").read_bytes()
    (brought / "site" / "part.1").write_bytes(b"other")
    assert "site/part.1 is damaged: its SHA-256" in unpack(brought, tmp_path / "kept")[1]
    assert not (tmp_path / "kept" / "site").exists()
    (brought / "site" / "part.1").write_bytes(whole)
    assert unpack(brought, tmp_path / "kept") == ["site/part.1 is here", "site is unpacked"]


def test_parts_of_two_archives(brought, tmp_path):
    data = b"of another archive"
    (brought / "site" / "part.1").write_bytes(data)
    lines = (brought / "parts.txt").read_text().splitlines()
    lines[1] = f"{hashlib.sha256(data).hexdigest()}  .gpu/site/part.1"
    (brought / "parts.txt").write_text("\n".join(lines))
    assert unpack(brought, tmp_path / "kept")[-1].startswith("site cannot be unpacked: ")
    assert not (tmp_path / "kept" / "site" / ".whole").exists()


def listed(name: str) -> set[str]:
    """The packages of a list in `prepare.sh`."""
    found = re.search(rf"^{name}='([^']*)'", (ROOT / "benchmarks/gpu/prepare.sh").read_text(), re.MULTILINE)
    assert found
    return set(found[1].split())


TARGET = {
    "python_version": "3.12", "python_full_version": "3.12.3", "platform_machine": "x86_64", "sys_platform": "linux",
    "platform_system": "Linux", "implementation_name": "cpython", "platform_python_implementation": "CPython",
}  # fmt: skip


def test_what_is_brought_is_all_that_the_package_needs():
    there, brought, pictures = listed("there"), listed("wheels"), listed("pictures")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, needed = [Requirement(line) for line in project["dependencies"]], set[str]()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        news = name not in needed or asked.extras
        needed.add(name)
        if news and name not in there | pictures:
            waiting += [one for one in map(Requirement, requires(name) or []) if applies(one, asked.extras)]
    assert needed == there | brought | pictures


def applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**TARGET, "extra": extra}) for extra in ("", *extras))
