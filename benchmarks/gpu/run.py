"""Run parts of the GPU benchmarks. A part takes three minutes at most, and goes on when one of its steps fails.

    benchmarks/gpu/run.sh [PART | PART:STEP …] [--out gpu-results] [--list]
    benchmarks/gpu/run.sh --rehearsal [PART …]       without a GPU: stand-ins for the device, small sizes

Every step is a process of its own. It is killed when its time is over, and what it had found until then counts. A part ends
with a table, which is printed. ``--out`` gets ``results.jsonl`` (one line for the machine, one per record, one per
step), ``tables.md`` and ``logs.txt``; a later run adds to them. The exit status is the number of steps that failed or
disagree with the CPU; steps that were left out, because the machine lacks something, do not count.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.records import RECORDS_VARIABLE, REHEARSAL_VARIABLE, Record, in_words, read_records
from benchmarks.gpu.steps import PART_S, PARTS, Step, chosen
from benchmarks.gpu.tables import part_table

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).parent / "rehearsal"
LEAST_S = 3.0
"""A step is not begun with less time than this."""
KILL_S = 10.0
"""A process that waits for a driver that hangs cannot be killed; the next step begins after so long."""
ASK_S = 60.0
"""How long the machine may take to say what it has."""
LOG_LINES = 15
REHEARSAL_TAKES = 5


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    status: str
    """``ok``, ``wrong`` (not as on the CPU), ``failed``, ``killed`` or ``left out``."""
    why: str = ""
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-results")))
    parser.add_argument("--rehearsal", action="store_true", help="without a GPU")
    parser.add_argument("--list", action="store_true", help="print the parts and their steps")
    options = parser.parse_args(arguments)
    if options.list:
        print_parts()
        return 0
    signal.signal(signal.SIGTERM, end)
    try:
        steps = chosen(options.parts)
    except ValueError as error:
        parser.error(str(error))
    return run(steps, options.out, rehearsal=options.rehearsal)


def run(steps: Iterable[tuple[str, Step]], out: Path, *, rehearsal: bool) -> int:
    """Run the steps part by part; returns how many failed."""
    out.mkdir(parents=True, exist_ok=True)
    environment = environment_of(rehearsal)
    machine = ask_machine(environment)
    write(out, {"kind": "machine", "at": now(), "rehearsal": rehearsal, **machine})
    print(f"{'REHEARSAL without a device. ' if rehearsal else ''}{machine.get('told') or machine['missing']}\n")
    failed = 0
    for part, group in itertools.groupby(steps, key=lambda step: step[0]):
        failed += run_part(part, [step for _, step in group], out, environment, machine, rehearsal=rehearsal)
    print(f"{failed} steps failed or disagree with the CPU; results are in {out}")
    return failed


def run_part(
    part: str,
    steps: Sequence[Step],
    out: Path,
    environment: dict[str, str],
    machine: dict[str, Any],
    *,
    rehearsal: bool,
) -> int:
    ends_at = time.monotonic() + PART_S * slower(rehearsal)
    done: list[tuple[Step, list[Record], Ended]] = []
    try:
        for step in steps:
            print(f"-- {part}: {step.name}", flush=True)
            reason = left_out(step, machine)
            if reason:
                records, ended = list[Record](), Ended("left out", reason)
            else:
                left_s = ends_at - time.monotonic()
                records, ended = run_step(part, step, out, environment, left_s, rehearsal=rehearsal)
            write_step(out, part, step, records, ended)
            done.append((step, records, ended))
    except SystemExit:
        ended = Ended("killed", "the whole run was ended")
        write_step(out, part, step, [], ended)
        done.append((step, [], ended))
        raise
    finally:
        write_table(part, done, out)
    return sum(ended.status in ("wrong", "failed", "killed") for _, _, ended in done)


def write_step(out: Path, part: str, step: Step, records: Iterable[Record], ended: Ended) -> None:
    for record in records:
        write(out, {"kind": "record", "part": part, "step": step.name, **asdict(record)})
    write(out, {"kind": "step", "part": part, "step": step.name, **asdict(ended)})


def write_table(part: str, done: Iterable[tuple[Step, list[Record], Ended]], out: Path) -> None:
    table = part_table(
        part, [(step.name, records, ended.status, ended.why, ended.seconds) for step, records, ended in done]
    )
    print(table, flush=True)
    with (out / "tables.md").open("a") as file:
        file.write(f"{table}\n")


def run_step(
    part: str, step: Step, out: Path, environment: dict[str, str], left_s: float, *, rehearsal: bool
) -> tuple[list[Record], Ended]:
    """Run one step, for as long as it may take and the part has time."""
    if left_s < LEAST_S:
        return [], Ended("left out", f"the {PART_S} s of the part were over")
    command = [sys.executable, "-m", *step.command, *(step.small if rehearsal else ())]
    limit_s = min(step.limit_s * slower(rehearsal), left_s)
    with tempfile.TemporaryDirectory() as scratch, (out / "logs.txt").open("a+b") as log:
        told = Path(scratch, "records.jsonl")
        log.write(f"\n===== {part}: {step.name}\n".encode())
        log.flush()
        begun_at, begun = log.tell(), time.monotonic()
        code = run_within(command, limit_s, log, {**environment, RECORDS_VARIABLE: str(told)})
        seconds, records = time.monotonic() - begun, read_records(told)
        log.seek(begun_at)
        text = log.read().decode(errors="replace")
    if step.command[0] == "pytest" and " passed" in last_line(text):  # skipped tests alone tell nothing
        records = [Record(last_line(text))]
    ended = how_it_ended(code, records, limit_s, seconds, text)
    if ended.status in ("failed", "killed"):
        print("\n".join(f"   {line}" for line in text.splitlines()[-LOG_LINES:]))
    print("\n".join(f"   {in_words(record)}" for record in records), flush=True)
    return records, ended


def run_within(command: Sequence[str], limit_s: float, log: Any, environment: dict[str, str]) -> int | None:
    """The exit status; None if it took longer and was killed, with all processes that it had started."""
    # A group and no session of its own: whatever ends the session of this program ends the step too.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
        process_group=0,
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Workers that outlive their step would hold the device."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S)


def end(number: int, _: object) -> None:
    """Ended from outside: the step that runs is killed, and the table of its part is written."""
    sys.exit(128 + number)


def slower(rehearsal: bool) -> int:
    """A rehearsal may share its cores with other work."""
    return REHEARSAL_TAKES if rehearsal else 1


def how_it_ended(code: int | None, records: Sequence[Record], limit_s: float, seconds: float, text: str) -> Ended:
    if code is None:
        return Ended("killed", f"after {limit_s:.0f} s", seconds)
    if code:
        return Ended("failed", f"{ending(code)}: {last_line(text)}", seconds)
    if not records:
        return Ended("failed", f"it ended without a result: {last_line(text)}", seconds)
    wrong = [record.what for record in records if record.agrees is False]
    return Ended("wrong" if wrong else "ok", ", ".join(wrong), seconds)


def ending(code: int) -> str:
    """What the exit status of a process says.

    >>> ending(1), ending(-11)
    ('status 1', 'died of SIGSEGV')
    """
    return f"status {code}" if code > 0 else f"died of {signal.Signals(-code).name}"


def left_out(step: Step, machine: dict[str, Any]) -> str:
    """Why a step cannot run here; empty if it can."""
    absent = [name for name in step.needs if name not in machine["modules"]]
    reason: str = machine["missing"]
    return reason or (f"{', '.join(absent)} cannot be imported" if absent else "")


def environment_of(rehearsal: bool) -> dict[str, str]:
    """The environment of all steps; in a rehearsal the stand-ins hide the real libraries."""
    places = [str(STAND_INS)] if rehearsal else []
    places += [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONUNBUFFERED": "1"}
    environment.pop(REHEARSAL_VARIABLE, None)
    # Dask would ask the stand-in for NVML more than it knows.
    return (
        {**environment, REHEARSAL_VARIABLE: "1", "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False"}
        if rehearsal
        else environment
    )


def ask_machine(environment: dict[str, str]) -> dict[str, Any]:
    """What `benchmarks.gpu.machine` finds: in a process of its own, which may crash."""
    names = sorted({name for steps in PARTS.values() for step in steps for name in step.needs})
    command = [sys.executable, "-m", "benchmarks.gpu.machine", *names]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=ASK_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"modules": [], "missing": f"the machine does not say within {ASK_S:.0f} s what it has"}
    lines = asked.stdout.splitlines()
    if asked.returncode or not lines:
        why = f"{ending(asked.returncode)}: {last_line(asked.stderr)}"
        return {"modules": [], "missing": f"the machine cannot be asked: {why}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def write(out: Path, line: dict[str, Any]) -> None:
    with (out / "results.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def print_parts() -> None:
    for part, steps in PARTS.items():
        print(f"{part}: {', '.join(f'{step.name} ({step.limit_s} s)' for step in steps)}")


if __name__ == "__main__":
    sys.exit(main())
