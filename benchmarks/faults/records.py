"""Records of what came of each line: one JSON object per line of a file, so a campaign that is cut off keeps what it has."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Record:
    """What came of one line."""

    line: str
    rounds: int
    done: dict[str, int]
    faults: list[str]
    notes: list[str]
    seconds: int
    left_out: str
    """Why the line could not run on this machine; empty: it ran."""
    at: str
    """UTC."""
    versions: str
    machine: str


def environment() -> dict[str, Any]:
    from curator_dask import __version__
    from curator_dask.video.process.ffmpeg import ffmpeg_version

    programs = [
        f"curator_dask {__version__}",
        f"ffmpeg {ffmpeg_version().split()[2]}",
        f"Python {platform.python_version()}",
    ]
    packages = [f"{name} {version(name)}" for name in ("distributed", "pyarrow", "numpy")]
    return {
        "at": datetime.now(UTC).strftime("%d %B %Y").lstrip("0"),
        "versions": ", ".join([*programs, *packages]),
        "machine": f"{platform.system()}, {len(os.sched_getaffinity(0))} cores",
    }


def add_record(file: Path, record: Record) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")


def read_records(file: Path) -> dict[str, Record]:
    """The newest record of each line."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    records = [Record(**json.loads(line)) for line in lines]
    return {record.line: record for record in records}
