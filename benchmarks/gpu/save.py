"""Keep the results of GPU runs in the repository, as JSON lines and as tables.

    python -m benchmarks.gpu.save RESULTS … [--commit] [--into benchmarks/results]

RESULTS are folders that `run.sh` wrote, in the order of the runs. Per device and day two files come out,
``gpu_{device}_{date}.jsonl`` and ``.md``; where they are there already, the new lines are added. The tables show the
latest run of each step. Rehearsals are refused. ``--commit`` makes one commit of the files.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.calls import lines_of
from benchmarks.gpu.records import Record
from benchmarks.gpu.steps import PARTS
from benchmarks.gpu.tables import Done, part_table
from benchmarks.gpu.unpack import ROOT

Line = dict[str, Any]
FIELDS = Record.__dataclass_fields__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--commit", action="store_true")
    options = parser.parse_args()
    files = save(lines_of(options.results), options.into)
    print("\n".join(str(path) for path in files))
    if options.commit:
        commit(files)


def save(lines: Sequence[Line], into: Path) -> list[Path]:
    """Write the files; returns their paths.

    Raises SystemExit for a rehearsal, and for a run without a device.
    """
    files: list[Path] = []
    for name, found in by_device_and_day(lines).items():
        table, raw = into / f"{name}.md", into / f"{name}.jsonl"
        known = [json.loads(line) for line in raw.read_text().splitlines()] if raw.exists() else []
        every = known + [line for line in found if line not in known]
        raw.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in every))
        table.write_text(document(every))
        files += [raw, table]
    return files


def by_device_and_day(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines by the name of their file; each line belongs to the machine that is told before it."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line["kind"] == "machine":
            found.setdefault(name := file_name(line), [])
        found[name].append(
            {**line, "run": line["at"]} if line["kind"] == "machine" else {**line, "run": run_of(found[name])}
        )
    return found


def file_name(machine: Line) -> str:
    if machine["rehearsal"]:
        raise SystemExit(f"the run of {machine['at']} was a rehearsal: its numbers mean nothing, and are not kept")
    if "device" not in machine:
        raise SystemExit(f"the run of {machine['at']} had no device: {machine['missing']}")
    device = re.sub(r"[^a-z0-9]+", "_", machine["device"].lower()).strip("_")
    return f"gpu_{device}_{machine['at'][:10]}"


def run_of(lines: Sequence[Line]) -> str:
    """The start of the latest run, which tells equal lines of two runs apart."""
    return str(next(line["at"] for line in reversed(lines) if line["kind"] == "machine"))


def document(lines: Sequence[Line]) -> str:
    machines = [line for line in lines if line["kind"] == "machine"]
    steps = latest_steps(lines)
    told = sorted({line["told"] for line in machines})
    tables = [
        part_table(part, found) for part in PARTS if (found := [one for at, one in steps.items() if at[0] == part])
    ]
    begin = f"# On a GPU, {machines[0]['device']}, {machines[0]['at'][:10]}"
    how = "Made by `python -m benchmarks.gpu.save` from the file beside it. The latest run of each step is shown."
    return "\n".join([begin, "", *told, "", how, "", *(f"{table}" for table in tables)])


def latest_steps(lines: Iterable[Line]) -> dict[tuple[str, str], Done]:
    """Part and step → what its latest run found."""
    records: dict[tuple[str, str], list[Record]] = {}
    steps: dict[tuple[str, str], Done] = {}
    for line in lines:
        if line["kind"] == "record":
            told = Record(**{name: line[name] for name in FIELDS})
            records.setdefault((line["part"], line["step"]), []).append(told)
        elif line["kind"] == "step":
            at = line["part"], line["step"]
            found = line["step"], records.pop(at, []), line["status"], line["why"], line["seconds"]
            if line["status"] != "left out" or at not in steps:
                steps[at] = found
    return steps


def commit(files: Sequence[Path]) -> None:
    names = [str(path) for path in files]
    subprocess.run(["git", "add", "--", *names], cwd=ROOT, check=True)
    titles = ", ".join(_titles(files))
    subprocess.run(["git", "commit", "-q", "-m", f"Measured on a GPU: {titles}", "--", *names], cwd=ROOT, check=True)


def _titles(files: Iterable[Path]) -> Iterator[str]:
    yield from sorted({path.stem.removeprefix("gpu_") for path in files})


if __name__ == "__main__":
    main()
