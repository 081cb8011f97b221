"""Records as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.gpu.records import Record, shown

HEADER = ("step", "what", "value", "goal", "as on the CPU")
Done = tuple[str, Sequence[Record], str, str, float]
"""Name, records, status, why, and seconds of a step."""


def part_table(part: str, steps: Iterable[Done]) -> str:
    rows = [row for step in steps for row in _rows(*step)]
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join([f"### {part}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _rows(name: str, records: Sequence[Record], status: str, why: str, seconds: float) -> Iterator[tuple[str, ...]]:
    for record in records:
        yield (name, record.what, f"{shown(record.value)} {record.unit}".strip(), _goal(record), _agrees(record))
    told = f"**{status}**" if status in ("wrong", "failed", "killed") else status
    reason = f"{told}: {why}" if why else told
    yield (name, reason.replace("|", "/"), f"{seconds:.1f} s" if seconds else "", "", "")


def _goal(record: Record) -> str:
    return f"{record.goal} {'met' if record.met else '**missed**'}" if record.goal else ""


def _agrees(record: Record) -> str:
    return "" if record.agrees is None else "yes" if record.agrees else "**no**"
