"""What the client holds while it writes or checks what concerns all clips: memory and CPU time of one step at several sizes.

Run: ``python -m benchmarks.client_memory quality``. The records are made up, and there are no media files. Each size runs in a
process of its own. The peak is counted above the memory in use before the step. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.dataset  # so that its memory counts for no step
import pyarrow.parquet  # noqa: F401  as above

from benchmarks.measuring import for_each_size, measure_step
from curator_dask.data.beside_vectors.quality_table import MARKED, publish_quality
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState

CLIPS_OF_UNIT = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    options = parser.parse_args()
    print("| clips | step | CPU s | CPU µs per clip | peak MB |\n|---|---|---|---|---|", flush=True)
    for_each_size(options.clips, _measure, options.step)


def _measure(num_clips: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        step = measure_step(STEPS[name](Path(scratch), num_clips))
    per_clip = step.seconds / num_clips * 1e6
    print(f"| {num_clips:,} | {name} | {step.seconds:.1f} | {per_clip:.1f} | {step.growth / 1e6:,.0f} |", flush=True)


def _id(number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}-0000-5000-a000-{number:012x}"


def _quality(root: Path, num_clips: int) -> Callable[[], object]:
    """Write the table of quality from the records of embed, which are made one by one."""
    return lambda: publish_quality(StageState(Folder(str(root)), "embed"), _records_with_quality(num_clips))


def _records_with_quality(num_clips: int) -> Iterator[UnitRecord]:
    for start in range(0, num_clips, CLIPS_OF_UNIT):
        rows = [
            [_id(number), *((number * 7919 + place) % 100_003 / 100_003 for place in range(len(COLUMNS)))]
            for number in range(start, min(start + CLIPS_OF_UNIT, num_clips))
        ]
        yield UnitRecord(f"{start:012x}", "", {}, data={MARKED: rows})


STEPS = {"quality": _quality}
"""Name → what prepares a step for a number of clips in an empty folder."""

if __name__ == "__main__":
    main()
