"""Run the campaign, print a table, and write what came of it.

    python -m benchmarks.faults.run                        every line, two rounds each
    python -m benchmarks.faults.run --rounds 20            the full campaign
    python -m benchmarks.faults.run two-runs --rounds 5    one line

Each line that has been run adds a record to benchmarks/results/faults.jsonl, and docs/reliability.md is written from the
newest record of each line. A line that fails stops no other; the exit status is 1 if one has.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.campaign import LINES
from benchmarks.faults.dask_processes import Dask
from benchmarks.faults.job import Job
from benchmarks.faults.line import Asked, Came, Line, NotPossibleError
from benchmarks.faults.records import ROOT, Record, add_record, environment, read_records
from benchmarks.faults.reliability_page import page, row

RECORDS = ROOT / "benchmarks" / "results" / "faults.jsonl"
PAGE = ROOT / "docs" / "reliability.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "lines", nargs="*", metavar="LINE", help=f"default: all of {', '.join(one.name for one in LINES)}"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of all random times and places")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is ended
    records = run_lines(chosen_lines(chosen.lines), chosen.rounds, chosen.seed, chosen.records)
    chosen.page.write_text(page(LINES, read_records(chosen.records)), encoding="utf-8")
    raise SystemExit(any(record.faults for record in records))


def chosen_lines(names: list[str]) -> list[Line]:
    """Raises SystemExit for a name that no line has."""
    if unknown := set(names) - {line.name for line in LINES}:
        raise SystemExit(
            f"there is no line {', '.join(sorted(unknown))}: give some of {', '.join(one.name for one in LINES)}"
        )
    return [line for line in LINES if line.name in names or not names]


def run_lines(lines: list[Line], rounds: int, seed: int, records: Path) -> list[Record]:
    """The lines share a Dask cluster, as the start of a worker takes longer than the job; some bring their own too."""
    came = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
        dask = stack.enter_context(Dask(Path(folder, "dask")))
        job = Job(Path(folder, "job"), dask.options)
        stack.callback(job.stop)
        job.prepare()
        print(f"an undisturbed run takes {job.seconds:.0f} s and makes {len(job.expected)} files", flush=True)
        for line in lines:
            own = Path(folder, line.name)
            own.mkdir()
            record = run_line(line, Asked(replace(job), rounds, random.Random(f"{seed} {line.name}"), own))
            add_record(records, record)
            came.append(record)
            print(row(record), flush=True)
    return came


def run_line(line: Line, asked: Asked) -> Record:
    """What goes wrong in a line is its record, whatever it is."""
    came, began, left_out = Came(), time.monotonic(), ""
    try:
        line.run(asked, came)
    except NotPossibleError as error:
        left_out = str(error)
    except Exception as error:
        came.faults.append(f"the line ended early: {error!r} in {traceback.format_exc().splitlines()[-3].strip()}")
    took_s = round(time.monotonic() - began)
    return Record(line.name, asked.rounds, dict(came.done), came.faults, came.notes, took_s, left_out, **environment())


if __name__ == "__main__":
    main()
