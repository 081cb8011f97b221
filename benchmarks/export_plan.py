"""What export costs in the client before any shard is written: CPU time and memory per clip of each step.

Run: ``python -m benchmarks.export_plan``. The clip index and the decisions are made up, and so are the tables of sizes and
hashes of media files. With ``--files`` there are files, empty but for their size, and records of split, and export lists and
reads them. Each size runs in a process of its own. The peak of each step is counted above the memory in use at its start,
that of the last line above the memory before the first step. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from benchmarks.measuring import apart, for_each_size, measure_step, memory
from curator_dask.data.clip_index import schema
from curator_dask.data.decisions.read_decisions import extent
from curator_dask.data.tables import parquet_bytes, parquet_bytes_of_batches
from curator_dask.data.user_tables.choice import Choice
from curator_dask.data.user_tables.table import UserTable
from curator_dask.export.plan import PlanParameters
from curator_dask.export.planned.cut import PlannedShard
from curator_dask.files.content_hash import Written
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, DECISIONS, clip_path, decision_part
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.export.clips.carried import join_to_clips
from curator_dask.stages.export.clips.chosen import choose
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.clips.plan_files import plan_files, shard_key
from curator_dask.stages.export.clips.sources import Sources
from curator_dask.stages.export.metadata import metadata_table
from curator_dask.stages.export.stage import ExportStage

Result = TypeVar("Result")
SPLITS = {"train": 0.9, "val": 0.1}
CLIPS_PER_VIDEO, BLOCK = 20, 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 500_000, 1_000_000])
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--metadata", choices=("clip", "video"), help="carry a table with a row for each of these")
    given = parser.parse_args()
    print("| clips | step | CPU seconds | CPU µs per clip | peak MB |\n|---|---|---|---|---|", flush=True)
    for_each_size(given.clips, _measure, given.files, given.metadata)


def _measure(num_clips: int, with_files: bool, named: str | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        apart(write_input, root, num_clips, with_files)
        stage = ExportStage(str(root), str(root / "out"), str(root), shards=PlanParameters(splits=SPLITS))
        if named is not None:
            apart(_write_metadata, root, num_clips, named)
            stage = replace(stage, metadata=str(root / "metadata.csv"), caption_column="caption")
        sources = stage._sources() if with_files else MadeUp(**vars(stage._sources()), made_up=num_clips)
        (root / "buckets").mkdir()
        before, start, peaks = memory("VmRSS"), time.process_time(), list[int]()

        def step(name: str, work: Callable[[], Result]) -> Result:
            return _step(name, num_clips, work, peaks)

        chosen = step("all that is known of the clips, joined", lambda: choose(sources, 0, root / "buckets"))
        clips = ExportedClips(chosen, stage.shards, root / "buckets")
        if (table := metadata_table(stage, {})) is not None:
            step(f"the table, with a row per {named}", lambda: _join(clips, table, stage))
        step("splits", clips.splits)
        shards = step("shards, with their digests", clips.shards)
        step("hashes of the media", lambda: clips.add_hashes(sources.hashes()))
        step("plans for the workers", lambda: _write_plans(stage, clips, shards))
        _line(num_clips, f"all, for {len(shards)} shards", time.process_time() - start, max(peaks) - before)


@dataclass(frozen=True)
class MadeUp(Sources):
    """Sources of an export without media files and without records of split."""

    made_up: int = 0
    """The number of clips."""

    def media(self) -> Iterator[pa.Table]:
        for numbers in _blocks(self.made_up):
            yield pa.table(
                {"id": pa.array(map(_id, numbers), pa.large_string()), "num_bytes": list(map(_size, numbers))}
            )

    def hashes(self) -> Iterator[pa.Table]:
        for numbers in _blocks(self.made_up):
            told = [pa.array(map(one, numbers), pa.large_string()) for one in (_id, _hash)]
            yield pa.table(told, names=["id", "content_hash"])


def _blocks(num_clips: int) -> Iterator[range]:
    return (range(start, min(start + BLOCK, num_clips)) for start in range(0, num_clips, BLOCK))


def _id(number: int) -> str:
    return f"{number:08x}-0000-5000-a000-{number:012x}"


def _size(number: int) -> int:
    return 2_000_000 + number % 1000


def _hash(number: int) -> str:
    return f"blake2b:{number * 2**96 // 7:032x}"


def _join(clips: ExportedClips, table: tuple[UserTable, Choice], stage: ExportStage) -> None:
    clips.metadata = join_to_clips(*table, stage.input, clips.chosen.rows, clips.parameters.seed, clips.scratch)


def _write_plans(stage: ExportStage, clips: ExportedClips, shards: list[PlannedShard]) -> None:
    with plan_files(StageState(stage.output, stage.name), clips, shards, set(map(shard_key, shards))):
        pass


def write_input(root: Path, num_clips: int, with_files: bool) -> None:
    """A clip index whose clips are all kept, 20 of each video."""
    tables = (pa.Table.from_pylist(list(map(_row, numbers)), schema=schema()) for numbers in _blocks(num_clips))
    (root / CLIP_INDEX).write_bytes(parquet_bytes_of_batches(schema(), tables))
    (root / DECISIONS).mkdir()
    num_parts = sum(1 for _ in _blocks(num_clips))
    for part, numbers in enumerate(_blocks(num_clips)):
        decided = pa.table({"id": list(map(_id, numbers)), "removed": pa.repeat(False, len(numbers))})
        decided = decided.replace_schema_metadata(extent(num_parts, num_clips))
        (root / decision_part(part)).write_bytes(parquet_bytes(decided))
    (root / "clips").mkdir()
    (root / StageState(_folder(root), "split").path("units")).mkdir(parents=True)
    for first in range(0, num_clips if with_files else 0, CLIPS_PER_VIDEO):
        _write_video(root, range(first, min(first + CLIPS_PER_VIDEO, num_clips)))


def _write_metadata(root: Path, num_clips: int, named: str) -> None:
    """A table with a title and a caption of each clip, or of each video."""
    with (root / "metadata.csv").open("w") as file:
        file.write(f"{named}_id,title,year,caption\n" if named == "clip" else "video,title,year,caption\n")
        for number in range(0, num_clips, 1 if named == "clip" else CLIPS_PER_VIDEO):
            row = _row(number)
            name = row["id"] if named == "clip" else row["relative_path"]
            file.write(
                f"{name},the title of number {number},{1900 + number % 100},Number {number} walks along a road.\n"
            )


def _write_video(root: Path, numbers: range) -> None:
    outputs, key = {}, f"{numbers.start:012x}"
    for number in numbers:
        with (root / clip_path(_id(number))).open("wb") as file:
            file.truncate(_size(number))
        outputs[clip_path(_id(number))] = Written(_size(number), _hash(number))
    record = UnitRecord(key, key, outputs, data={"clips": list(map(_row, numbers))})
    (root / StageState(_folder(root), "split").path("units", f"{key}.json")).write_bytes(record.to_json())


def _folder(root: Path) -> Folder:
    return Folder(str(root))


def _row(number: int) -> dict[str, object]:
    video, span = divmod(number, CLIPS_PER_VIDEO)
    name = f"folder/video_{video:07d}.mp4"
    return {
        "id": _id(number), "source_video": f"/videos/{name}", "relative_path": name, "span_index": span,
        "start_s": span * 10.0, "end_s": span * 10.0 + 10.0, "num_frames": 300, "width": 1280, "height": 720,
        "framerate": 30.0, "video_codec": "h264", "num_bytes": _size(number),
        "clip_path": clip_path(_id(number)), "valid": True,
    }  # fmt: skip


def _step(name: str, num_clips: int, work: Callable[[], Result], peaks: list[int]) -> Result:
    step = measure_step(work)
    peaks.append(step.peak)
    _line(num_clips, name, step.seconds, step.growth)
    return step.result


def _line(num_clips: int, name: str, seconds: float, num_bytes: int) -> None:
    per_clip = seconds / num_clips * 1e6
    print(f"| {num_clips:,} | {name} | {seconds:.2f} | {per_clip:.1f} | {max(num_bytes, 0) / 1e6:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
