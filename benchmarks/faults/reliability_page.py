"""docs/reliability.md, from the records of the campaign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.faults.line import Line
from benchmarks.faults.records import Record

HEAD = """# Reliability, measured

Machines fail, stores fail, and people start things twice. `make faults` does all of that on purpose to a small job (two
scenes of 4 s and an edited copy of each, in clips of 2 s, from videos to shards and a report), and writes this page.
Unless a line says otherwise, each disturbed output must end with **the same bytes** as an undisturbed one, in every file,
also in the records that the stages keep.

| line | rounds | what happened | faults |
|---|---|---|---|"""
TAIL = """
## Run it

```sh
make faults               # every line, two rounds each
make faults ROUNDS=20     # the full campaign
make faults FAULTS='two-runs damage'
```

Random times and places follow from a seed, but what a kill meets there also depends on the machine. A line that the machine
cannot do (`disk-full` takes the right to mount a disk) is left out and says why. A short part of the campaign is among the
default tests. Its programs are in the folder `benchmarks/faults` of the source.
"""


def row(record: Record) -> str:
    """One row of the table."""
    if record.left_out:
        return f"| {record.line} | - | left out: {record.left_out} | - |"
    happened = "; ".join(f"{what}: {number:,}" for what, number in record.done.items())
    return f"| {record.line} | {record.rounds} | {happened} | {_told(record.faults) or 'none'} |"


def _told(faults: Sequence[str]) -> str:
    words = "; ".join(faults[:3]).replace("|", "/").replace("\n", " ")
    return f"**{len(faults)}**: {words}" if faults else ""


def page(lines: Sequence[Line], records: Mapping[str, Record]) -> str:
    ran = [line for line in lines if line.name in records]
    parts = [HEAD, *(row(records[line.name]) for line in ran), "\n## What each line does\n"]
    for line in ran:
        parts += [f"### {line.name}\n", line.what, "", *_under(records[line.name])]
    return "\n".join([*parts, TAIL.lstrip("\n")])


def _under(record: Record) -> Iterator[str]:
    yield from (f"* {note[0].upper()}{note[1:]}." for note in record.notes)
    yield f"* {record.at}, {record.seconds:,} s. {record.versions}. {record.machine}."
    yield ""
