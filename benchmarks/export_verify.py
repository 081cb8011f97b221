"""What the check of an export costs: CPU time and memory per clip, with lists of the removed and of the exported clips.

Run: ``python -m benchmarks.export_verify``. The clips are made up, with media of 100 bytes, so that keys and JSON are what is
measured. Each size runs in a process of its own. The peak is counted above the memory in use at the start. Linux only.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from benchmarks.measuring import apart, for_each_size, measure_step
from curator_dask import verify_dataset
from curator_dask.export.manifest import Manifest, manifest_text
from curator_dask.export.plan import ShardPlan
from curator_dask.export.samples import ClipRecord
from curator_dask.export.shards import ShardResult, write_shard
from curator_dask.files.layout import KEEP_LIST, MANIFEST_NAME, REMOVE_LIST

CLIPS_OF_SHARD, MEDIA_BYTES = 2_000, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 400_000])
    print("| clips | step | CPU seconds | CPU µs per clip | peak MB |\n|---|---|---|---|---|", flush=True)
    for_each_size(parser.parse_args().clips, _measure)


def _measure(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        apart(_write_export, Path(scratch), num_clips)
        _check("check", num_clips, scratch, {})
        lists = {"duplicates_path": scratch, "keep_list": f"{scratch}/{KEEP_LIST}"}
        _check("check, with both lists", num_clips, scratch, lists)


def _check(name: str, num_clips: int, folder: str, lists: dict[str, str]) -> None:
    step = measure_step(lambda: verify_dataset(folder, clips_opened_per_shard=0, **lists))  # type: ignore[arg-type]
    if step.result.faults:
        raise SystemExit(f"the export has faults: {step.result.faults[0]}")
    per_clip = step.seconds / num_clips * 1e6
    print(f"| {num_clips:,} | {name} | {step.seconds:.2f} | {per_clip:.1f} | {step.growth / 1e6:,.0f} |", flush=True)


def _write_export(folder: Path, num_clips: int) -> None:
    """The shards of an export; and lists, the one of removed clips as long as that of the exported ones."""
    (folder / "train").mkdir()
    shards = [
        _write_one(folder, start, min(start + CLIPS_OF_SHARD, num_clips))
        for start in range(0, num_clips, CLIPS_OF_SHARD)
    ]
    manifest = Manifest("made up", ("json", "mp4"), {}, tuple(shards))
    (folder / MANIFEST_NAME).write_text(manifest_text(manifest))
    (folder / KEEP_LIST).write_text("".join(f"{_id(number)}\n" for number in range(num_clips)))
    (folder / REMOVE_LIST).write_text("".join(f"{_id(number)}\n" for number in range(num_clips, 2 * num_clips)))


def _write_one(folder: Path, start: int, stop: int) -> ShardResult:
    records = [ClipRecord(_id(at), f"/videos/{at // 20}.mp4", 0.0, 10.0, MEDIA_BYTES) for at in range(start, stop)]
    name = f"{start // CLIPS_OF_SHARD:06d}.tar"
    plan = ShardPlan("train", name, tuple(records), 0)  # the size is not looked at
    return write_shard(plan, folder / "train" / name, lambda record: io.BytesIO(bytes(MEDIA_BYTES)))


def _id(number: int) -> str:
    return f"{number:08x}-0000-5000-a000-{number:012x}"


if __name__ == "__main__":
    main()
