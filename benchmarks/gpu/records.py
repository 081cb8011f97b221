"""What a step of the GPU benchmarks found: one line of JSON per number, which the driver makes a table of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORDS_VARIABLE = "CURATOR_DASK_GPU_RECORDS"
"""The file that a step adds its records to; without it they are only printed."""
REHEARSAL_VARIABLE = "CURATOR_DASK_GPU_REHEARSAL"
"""Set where stand-ins take the place of the device: small sizes, and numbers that mean nothing."""


@dataclass(frozen=True)
class Record:
    """One number or one fact."""

    what: str
    value: float | str = ""
    unit: str = ""
    goal: str = ""
    """The goal in words; empty where there is none."""
    met: bool | None = None
    """Whether the goal is reached. None: there is none."""
    agrees: bool | None = None
    """Whether the device's result is the CPU's. None: it was not compared."""


def rehearsing() -> bool:
    return bool(os.environ.get(REHEARSAL_VARIABLE))


def sized(full: Any, small: Any) -> Any:
    """`full` on a device, `small` in a rehearsal."""
    return small if rehearsing() else full


def tell(
    what: str,
    value: float | str = "",
    unit: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    agrees: bool | None = None,
) -> None:
    """Print a record, and add it to the file of records."""
    goal, met = _goal(value, at_least, at_most)
    record = Record(what, value, unit, goal, met, None if agrees is None else bool(agrees))
    print(in_words(record), flush=True)
    if RECORDS_VARIABLE in os.environ:
        with Path(os.environ[RECORDS_VARIABLE]).open("a") as file:
            file.write(json.dumps(asdict(record)) + "\n")


def read_records(path: Path) -> list[Record]:
    """The records of a step; a last line that a killed step did not finish is left out."""
    return list(_whole_lines(path.read_text())) if path.exists() else []


def in_words(record: Record) -> str:
    goal = f" (goal {record.goal}: {'met' if record.met else 'MISSED'})" if record.goal else ""
    agrees = "" if record.agrees is None else f"; {'as' if record.agrees else 'NOT AS'} on the CPU"
    return f"{record.what}: {shown(record.value)} {record.unit}".rstrip() + goal + agrees


def shown(value: float | str) -> str:
    """A number with four digits that count."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _goal(value: float | str, at_least: float | None, at_most: float | None) -> tuple[str, bool | None]:
    if isinstance(value, str) or (at_least is None and at_most is None):
        return "", None
    if at_least is not None:
        return f"≥ {shown(at_least)}", value >= at_least
    return f"≤ {shown(at_most or 0.0)}", value <= (at_most or 0.0)


def _whole_lines(text: str) -> Iterator[Record]:
    for line in text.splitlines():
        try:
            yield Record(**json.loads(line))
        except json.JSONDecodeError:
            return
