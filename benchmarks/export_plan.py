"""What export costs in the client before any shard is written: CPU time and memory per clip of each step.

Run: ``python -m benchmarks.export_plan``. The clip index and the kept ids are made up; there are no media files. Each size
runs in a process of its own, and the peak of each step is counted above the memory in use at its start. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from curator_dask.data.clip_index import schema
from curator_dask.data.tables import parquet_bytes
from curator_dask.export.plan import PlanParameters, plan_shards
from curator_dask.export.splits import assign_splits
from curator_dask.files.layout import CLIP_INDEX, KEEP_LIST
from curator_dask.stages.export.stage import ExportStage

Result = TypeVar("Result")
SPLITS = {"train": 0.9, "val": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 500_000, 1_000_000])
    print("| clips | step | CPU seconds | CPU µs per clip | peak bytes per clip |\n|---|---|---|---|---|", flush=True)
    for num_clips in parser.parse_args().clips:
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(num_clips,))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the process for {num_clips} clips ended with {process.exitcode}")


def _measure(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        _write_input(root, num_clips)
        stage = ExportStage(str(root), str(root / "out"), str(root), shards=PlanParameters(splits=SPLITS))
        records = _step("records of the kept clips", num_clips, lambda: stage._records(stage._wanted_ids(set())))
        _step("splits", num_clips, lambda: assign_splits(records, SPLITS, 0))
        plans = _step("shards, with their splits", num_clips, lambda: plan_shards(records, stage.shards))
        _step("units with digests", num_clips, lambda: [stage._unit(plan, {}, None) for plan in plans])


def _write_input(root: Path, num_clips: int, clips_per_video: int = 20) -> None:
    """A clip index whose clips are all kept, 20 of each video."""
    ids = [f"{number:08x}-0000-5000-a000-{number:012x}" for number in range(num_clips)]
    rows = [_row(number, clip, clips_per_video) for number, clip in enumerate(ids)]
    (root / CLIP_INDEX).write_bytes(parquet_bytes(pa.Table.from_pylist(rows, schema=schema())))
    (root / KEEP_LIST).write_text("\n".join(ids) + "\n")


def _row(number: int, clip: str, clips_per_video: int) -> dict[str, object]:
    video, span = divmod(number, clips_per_video)
    name = f"folder/video_{video:07d}.mp4"
    return {
        "id": clip, "source_video": f"/videos/{name}", "relative_path": name, "span_index": span,
        "start_s": span * 10.0, "end_s": span * 10.0 + 10.0, "num_frames": 300, "width": 1280, "height": 720,
        "framerate": 30.0, "video_codec": "h264", "num_bytes": 2_000_000 + number % 1000,
        "clip_path": f"clips/{clip}.mp4", "valid": True,
    }  # fmt: skip


def _step(name: str, num_clips: int, work: Callable[[], Result]) -> Result:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before, start = _memory("VmRSS"), time.process_time()
    result = work()
    seconds = time.process_time() - start
    growth = max(_memory("VmHWM") - before, 0)
    print(
        f"| {num_clips:,} | {name} | {seconds:.2f} | {seconds / num_clips * 1e6:.1f} | {growth / num_clips:,.0f} |",
        flush=True,
    )
    return result


def _memory(field: str) -> int:
    """A figure of this process in bytes: ``VmRSS``, memory in use now, or ``VmHWM``, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
