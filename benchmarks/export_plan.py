"""What export costs in the client before any shard is written: CPU time and memory per clip of each step.

Run: ``python -m benchmarks.export_plan``. The clip index, the kept ids and the records of split are made up; the media files
are there, and empty but for their size. Each size runs in a process of its own. The peak of each step is counted above the
memory in use at its start, and the last line gives the peak of all steps above the memory before the first. Linux only.
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
from curator_dask.export.plan import PlanParameters
from curator_dask.export.planned.cut import PlannedShard
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, KEEP_LIST, clip_path
from curator_dask.files.local_files import Written
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.export.clips.chosen import choose
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.clips.plan_files import plan_files, shard_key
from curator_dask.stages.export.stage import ExportStage

Result = TypeVar("Result")
SPLITS = {"train": 0.9, "val": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 500_000, 1_000_000])
    print("| clips | step | CPU seconds | CPU µs per clip | peak MB |\n|---|---|---|---|---|", flush=True)
    for num_clips in parser.parse_args().clips:
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(num_clips,))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the process for {num_clips} clips ended with {process.exitcode}")


def _measure(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        writing = multiprocessing.get_context("spawn").Process(target=_write_input, args=(root, num_clips))
        writing.start()  # in a process of its own, so that its memory does not count
        writing.join()
        stage = ExportStage(str(root), str(root / "out"), str(root), shards=PlanParameters(splits=SPLITS))
        (root / "buckets").mkdir()
        before, start, peaks = _memory("VmRSS"), time.process_time(), list[int]()

        def step(name: str, work: Callable[[], Result]) -> Result:
            return _step(name, num_clips, work, peaks)

        chosen = step("all that is known of the clips, joined", lambda: choose(stage._sources(), 0, root / "buckets"))
        clips = ExportedClips(chosen, stage.shards, root / "buckets")
        step("splits", clips.splits)
        shards = step("shards, with their digests", clips.shards)
        step("hashes of the media, from the records of split", lambda: clips.add_hashes(stage._sources().hashes()))
        step("plans for the workers", lambda: _write_plans(stage, clips, shards))
        _line(num_clips, f"all, for {len(shards)} shards", time.process_time() - start, max(peaks) - before)


def _write_plans(stage: ExportStage, clips: ExportedClips, shards: list[PlannedShard]) -> None:
    with plan_files(StageState(stage.output, stage.name), clips, shards, set(map(shard_key, shards))):
        pass


def _write_input(root: Path, num_clips: int, clips_per_video: int = 20) -> None:
    """A clip index whose clips are all kept, 20 of each video."""
    ids = [f"{number:08x}-0000-5000-a000-{number:012x}" for number in range(num_clips)]
    rows = [_row(number, clip, clips_per_video) for number, clip in enumerate(ids)]
    (root / CLIP_INDEX).write_bytes(parquet_bytes(pa.Table.from_pylist(rows, schema=schema())))
    (root / KEEP_LIST).write_text("\n".join(ids) + "\n")
    (root / "clips").mkdir()
    (root / StageState(_folder(root), "split").path("units")).mkdir(parents=True)
    for start in range(0, num_clips, clips_per_video):
        _write_video(root, rows[start : start + clips_per_video], f"{start:012x}")


def _write_video(root: Path, rows: list[dict[str, object]], key: str) -> None:
    outputs = {}
    for row in rows:
        path, size = clip_path(str(row["id"])), int(str(row["num_bytes"]))
        with (root / path).open("wb") as file:
            file.truncate(size)
        outputs[path] = Written(size, f"blake2b:{size:032x}")
    record = UnitRecord(key, key, outputs, data={"clips": rows})
    (root / StageState(_folder(root), "split").path("units", f"{key}.json")).write_bytes(record.to_json())


def _folder(root: Path) -> Folder:
    return Folder(str(root))


def _row(number: int, clip: str, clips_per_video: int) -> dict[str, object]:
    video, span = divmod(number, clips_per_video)
    name = f"folder/video_{video:07d}.mp4"
    return {
        "id": clip, "source_video": f"/videos/{name}", "relative_path": name, "span_index": span,
        "start_s": span * 10.0, "end_s": span * 10.0 + 10.0, "num_frames": 300, "width": 1280, "height": 720,
        "framerate": 30.0, "video_codec": "h264", "num_bytes": 2_000_000 + number % 1000,
        "clip_path": f"clips/{clip}.mp4", "valid": True,
    }  # fmt: skip


def _step(name: str, num_clips: int, work: Callable[[], Result], peaks: list[int]) -> Result:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before, start = _memory("VmRSS"), time.process_time()
    result = work()
    peaks.append(_memory("VmHWM"))
    _line(num_clips, name, time.process_time() - start, peaks[-1] - before)
    return result


def _line(num_clips: int, name: str, seconds: float, num_bytes: int) -> None:
    per_clip = seconds / num_clips * 1e6
    print(f"| {num_clips:,} | {name} | {seconds:.2f} | {per_clip:.1f} | {max(num_bytes, 0) / 1e6:,.0f} |", flush=True)


def _memory(field: str) -> int:
    """A figure of this process in bytes: ``VmRSS``, memory in use now, or ``VmHWM``, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
