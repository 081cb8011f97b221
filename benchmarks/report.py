"""What the report of a finished output costs in the client: CPU time and memory per clip of reading it and of counting.

Run: ``python -m benchmarks.report``. The clip index, the similarity tables and the decisions are made up, and written as real
files: clusters of 1,000 clips, 30 % of them removed, 20 clips per video. There are no clips and no previews. Each size runs in
a process of its own. The peak of each step is counted above the memory in use at its start. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas  # noqa: F401  so that its memory counts for no step
import pyarrow as pa

from benchmarks.measuring import apart, for_each_size, measure_step, memory
from curator_dask.data.clip_index import extent as index_extent
from curator_dask.data.clip_index import schema
from curator_dask.data.decisions.read_decisions import decision_columns, extent
from curator_dask.data.tables import parquet_bytes
from curator_dask.files.folder import Folder
from curator_dask.files.layout import DUPLICATES, PAIRWISE, clip_index_part, decision_part
from curator_dask.report.build import build_report
from curator_dask.stages.inspect.read_output import read_output

Result = TypeVar("Result")
CLUSTER_ROWS, CLIPS_PER_VIDEO, PART_ROWS = 1_000, 20, 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 400_000])
    print("| clips | step | CPU seconds | CPU µs per clip | peak bytes per clip | MB of the process |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for_each_size(parser.parse_args().clips, _measure)


def _measure(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        apart(_write_output, scratch, num_clips)
        before = memory("VmRSS")
        (Path(scratch) / "buckets").mkdir()
        output = _step("read the output", num_clips, lambda: read_output(Folder(scratch), Path(scratch) / "buckets"))
        report = _step("count", num_clips, lambda: build_report(output))
        digest = hashlib.sha256(json.dumps({**report, "name": ""}, sort_keys=True).encode()).hexdigest()[:16]
        print(f"| {num_clips:,} | in use before: {before / 1e6:,.0f} MB; the report: {digest} | | | | |", flush=True)


def _write_output(scratch: str, num_clips: int) -> None:
    folder = Folder(scratch)
    starts = range(0, num_clips, PART_ROWS)
    for part, start in enumerate(starts):
        numbers = np.arange(start, min(start + PART_ROWS, num_clips))
        index, decided = _clips(numbers), _decisions(numbers)
        if not part:
            index = index.replace_schema_metadata(index_extent(len(starts), num_clips))
            decided = decided.replace_schema_metadata(extent(len(starts), num_clips))
        folder.write_bytes(clip_index_part(part), parquet_bytes(index))
        folder.below(DUPLICATES).write_bytes(decision_part(part), parquet_bytes(decided))
        for first in range(0, len(numbers), CLUSTER_ROWS):
            rows = decided.slice(first, CLUSTER_ROWS)
            table = parquet_bytes(rows.select(["id", "max_id", "cosine_sim_score"]).replace_schema_metadata(None))
            folder.below(PAIRWISE).write_bytes(f"cluster_{(start + first) // CLUSTER_ROWS}.parquet", table)


def _id(number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}-0000-5000-a000-{number:012x}"


def _clips(numbers: np.ndarray) -> pa.Table:
    span, video = numbers % CLIPS_PER_VIDEO, (numbers // CLIPS_PER_VIDEO).tolist()
    known = {
        "id": list(map(_id, numbers.tolist())),
        "relative_path": [f"folder/video_{one:09d}.mp4" for one in video],
        "source_video": [f"/videos/folder/video_{one:09d}.mp4" for one in video],
        "start_s": 10.0 * span,
        "end_s": 10.0 * span + 10.0 + numbers % 7 / 8,
        "width": np.full(len(numbers), 1280),
        "height": np.full(len(numbers), 720),
        "num_bytes": 2_000_000 + numbers % 1000,
        "clip_path": [f"clips/{_id(one)}.mp4" for one in numbers.tolist()],
        "valid": np.ones(len(numbers), bool),
        "motion_mean": numbers % 1013 / 1013,
        "frozen_share": numbers % 31 / 31,
        "black_share": numbers % 7 / 7,
        "luminance": numbers % 255.0,
        "sharpness": numbers % 97 / 9.7,
    }
    kinds = schema()
    return pa.table(
        [pa.array(known[name], kinds.field(name).type) if name in known else _unknown(kinds.field(name), len(numbers))
         for name in kinds.names],
        schema=kinds,
    )  # fmt: skip


def _unknown(field: pa.Field, number: int) -> pa.Array:
    return pa.array(np.zeros(number), field.type) if pa.types.is_floating(field.type) else pa.nulls(number, field.type)


def _decisions(numbers: np.ndarray) -> pa.Table:
    removed = np.isin(numbers % 10, (3, 6, 9))
    leader = numbers - np.where(removed, numbers % 10, 0)
    best = np.where(removed, leader, np.maximum(numbers - 1, 0))
    score = np.where(removed, 0.95 + numbers % 499 / 1e4, numbers % 883 / 1000).astype(np.float32)
    in_group = removed | (numbers % 10 == 0)
    leaders = [_id(one) for one in leader.tolist()]
    known = {
        "id": pa.array(map(_id, numbers.tolist()), pa.large_string()),
        "removed": pa.array(removed),
        "kept_id": pa.array(leaders, pa.large_string(), mask=~removed),
        "max_id": pa.array(map(_id, best.tolist()), pa.large_string()),
        "cosine_sim_score": pa.array(score),
        "kept_score": pa.array(score, mask=~removed),
        "cluster": pa.array(numbers // CLUSTER_ROWS),
        "eps": pa.array(np.full(len(numbers), 0.05), mask=~removed),
        "reason": pa.array(["similar"] * len(numbers), pa.string(), mask=~removed),
        "group_id": pa.array(numbers // 10, mask=~in_group),
        "representative_id": pa.array(leaders, pa.large_string(), mask=~in_group),
    }
    fields = decision_columns()
    columns = [known.get(field.name, pa.nulls(len(numbers), field.type)) for field in fields]
    return pa.table([column.cast(field.type) for column, field in zip(columns, fields, strict=True)], schema=fields)


def _step(name: str, num_clips: int, work: Callable[[], Result]) -> Result:
    step = measure_step(work)
    per_clip = f"{step.seconds / num_clips * 1e6:.1f} | {step.growth / num_clips:,.0f}"
    print(f"| {num_clips:,} | {name} | {step.seconds:.2f} | {per_clip} | {step.peak / 1e6:,.0f} |", flush=True)
    return step.result


if __name__ == "__main__":
    main()
