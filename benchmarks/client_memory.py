"""What the client holds while it writes or checks what concerns all clips: memory and CPU time of one step at several sizes.

Run: ``python -m benchmarks.client_memory quality``. The records are made up, and there are no media files. Each size runs in a
process of its own. The peak is counted above the memory in use before the step. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset  # so that its memory counts for no step
import pyarrow.parquet as pq

from benchmarks import export_plan
from benchmarks.clip_index import row
from benchmarks.measuring import apart, for_each_size, measure_step
from curator_dask import AlignStage, ExportStage, prune_output, verify_output
from curator_dask.data.beside_vectors.quality_table import MARKED, publish_quality
from curator_dask.data.beside_vectors.track_files import TrackRow, track_table
from curator_dask.data.beside_vectors.track_index import read_track_index
from curator_dask.data.decisions.read_decisions import extent
from curator_dask.data.tables import parquet_bytes, write_arrow
from curator_dask.dedup.align.in_cells.cells import CELL_SEGMENTS, number_of_cells
from curator_dask.dedup.align.in_cells.centres import SAMPLE_ROWS, centres_of
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files import layout
from curator_dask.files.content_hash import Written, hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_bytes
from curator_dask.runtime.records import JSON, UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.align.cell_passes import plan_cells, verify_units
from curator_dask.stages.align.groups import group_sources
from curator_dask.stages.align.shared_stretches import SharedStretch, overlap_table
from curator_dask.stages.align.spec import AlignSpec, LineGroup
from curator_dask.stages.export.clips.chosen import choose
from curator_dask.stages.export.clips.exported import ExportedClips
from curator_dask.stages.export.table import ClipTable

CLIPS_OF_VIDEO = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="for what is made up, which is kept; a folder per number of clips")
    options = parser.parse_args()
    print("| clips | step | CPU s | CPU µs per clip | peak MB |\n|---|---|---|---|---|", flush=True)
    for_each_size(options.clips, _measure, options.step, options.folder)


def _measure(num_clips: int, name: str, kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = kept / f"{num_clips}" if kept is not None else Path(scratch) / "made-up"
        prepare, work = STEPS[name]
        if not root.exists():
            apart(prepare, root, num_clips)
        step = measure_step(lambda: work(root, num_clips))
    per_clip = step.seconds / num_clips * 1e6
    print(f"| {num_clips:,} | {name} | {step.seconds:.1f} | {per_clip:.1f} | {step.growth / 1e6:,.0f} |", flush=True)


def _id(number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}-0000-5000-a000-{number:012x}"


def _prepare_nothing(root: Path, num_clips: int) -> None:
    root.mkdir(parents=True)


def _quality(root: Path, num_clips: int) -> None:
    """Write the table of quality from the records of embed, which are made one by one."""
    publish_quality(StageState(Folder(str(root)), "embed"), _records_with_quality(num_clips))


def _records_with_quality(num_clips: int) -> Iterator[UnitRecord]:
    for start in range(0, num_clips, CLIPS_OF_VIDEO):
        rows = [
            [_id(number), *((number * 7919 + place) % 100_003 / 100_003 for place in range(len(COLUMNS)))]
            for number in range(start, min(start + CLIPS_OF_VIDEO, num_clips))
        ]
        yield UnitRecord(f"{start:012x}", "", {}, data={MARKED: rows})


def _prepare_align(root: Path, num_clips: int) -> None:
    """A folder of vectors with tracks and the records of embed; and of align, all whose units are done."""
    _write_tracks(root, num_clips)
    stage, groups = _aligned(root)
    state = StageState(stage.output, stage.name)
    state.claim(stage.identity())
    cells = plan_cells(AlignSpec(stage.output, stage.thresholds()), state, groups, 1)
    for number, unit in enumerate(verify_units(cells, state, groups)):
        share = range(number * num_clips // len(groups), (number + 1) * num_clips // len(groups))
        table = overlap_table([_stretch(clip, num_clips) for clip in share if clip % 3])
        size = write_arrow(stage.output, unit.task.table, table)
        _write_record(root / "out", state, UnitRecord(unit.key, unit.inputs, {unit.task.table: size}))


def _write_tracks(root: Path, num_clips: int) -> None:
    state = StageState(Folder(str(root)), "embed")
    (root / layout.TRACKS).mkdir(parents=True)
    track = ClipTrack(0.0, np.zeros((20, 66), np.int16), np.ones(20, np.bool_), np.zeros((0, 2), np.int32),
                      np.zeros((0, 1024), np.uint8))  # fmt: skip
    same = track_table([TrackRow("", "", track)] * CLIPS_OF_VIDEO).drop_columns(["id", "source", "start_s"])
    starts = pa.array(np.arange(CLIPS_OF_VIDEO) * 10.0)
    for start in range(0, num_clips, CLIPS_OF_VIDEO):
        ids = pa.array([_id(number) for number in range(start, start + CLIPS_OF_VIDEO)])
        named = pa.table({"id": ids, "source": pa.repeat(_video(start), CLIPS_OF_VIDEO), "start_s": starts})
        path = f"{layout.TRACKS}/{digest(start)}.parquet"
        pq.write_table(pa.table([*named, *same], names=[*named.column_names, *same.column_names]), root / path)
        _write_record(root, state, UnitRecord(digest(start), digest(start, 1), {path: (root / path).stat().st_size}))


def _write_record(root: Path, state: StageState, record: UnitRecord) -> None:
    path = root / state.path("units", f"{record.key}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record.to_json())  # no flush: there are many


def _video(clip: int) -> str:
    return f"folder_{clip // CLIPS_OF_VIDEO % 97:02d}/video_{clip // CLIPS_OF_VIDEO:07d}.mp4"


def _stretch(clip: int, num_clips: int) -> SharedStretch:
    names = sorted((_id(clip), _id(clip * 7919 % num_clips)))
    return SharedStretch(*names, 0.0, 6.5, 3.5, 10.0, -3.5, 0.9, 0.99, 12.0, "shifted")


def _aligned(root: Path) -> tuple[AlignStage, list[LineGroup]]:
    stage = AlignStage(input_path=str(root), output_path=str(root / "out"), exhaustive_groups=0)
    with tempfile.TemporaryDirectory() as scratch:
        return stage, group_sources(read_track_index(stage.input, Path(scratch)))


def _align(root: Path, num_clips: int) -> None:
    """What the client does in align, but for the centres of the cells: all units are done."""
    AlignStage(input_path=str(root), output_path=str(root / "out"), exhaustive_groups=0).run()


def _prepare_output(root: Path, num_clips: int) -> None:
    """An output whose clips have a few bytes each, with records and decisions; every tenth video is gone."""
    (root / "videos").mkdir(parents=True)
    out, state = root / "out", StageState(Folder(str(root / "out")), "split")
    state.claim({"video_dir": str(root / "videos")})
    for folder in ("clips", *(f"metas/{at:02d}" for at in range(16))):
        (out / folder).mkdir(parents=True)
    for first in range(0, num_clips, CLIPS_OF_VIDEO):
        _write_record(out, state, _split_video(root, first))
    state.publish(layout.KEEP_LIST, id_list_bytes(map(_id, range(num_clips))))
    state.summarise({"clips": num_clips})
    _write_decisions(out / "duplicates", num_clips)


def _split_video(root: Path, first: int) -> UnitRecord:
    name, outputs, rows = _video(first), dict[str, int](), list[JSON]()
    if first // CLIPS_OF_VIDEO % 10:
        (root / "videos" / name).parent.mkdir(exist_ok=True)
        (root / "videos" / name).touch()
    for number in range(first, first + CLIPS_OF_VIDEO):
        for path in (f"clips/{_id(number)}.mp4", f"metas/{number % 16:02d}/{_id(number)}.json"):
            (root / "out" / path).write_bytes(b"%d" % number)
            outputs[path] = Written(len(str(number)), hash_of(b"%d" % number))
        rows.append({**row(number, number - first, name), "id": _id(number)})
    return UnitRecord(digest(name), digest(name, 1), outputs, {"clips": len(rows)}, (), {"clips": rows})


def _write_decisions(folder: Path, num_clips: int) -> None:
    state = StageState(Folder(str(folder)), "identify")
    state.claim({})
    decided = pa.table(
        {"id": pa.array(map(_id, range(num_clips)), pa.large_string()), "removed": pa.repeat(False, num_clips)}
    )
    decided = decided.replace_schema_metadata(extent(1, num_clips))
    state.publish(layout.decision_part(0), parquet_bytes(decided))
    state.publish(layout.KEEP_LIST, id_list_bytes(map(_id, range(num_clips))))
    state.summarise({"rows": num_clips, "kept": num_clips, "removed": 0})


def _verify(root: Path, num_clips: int) -> None:
    """Compare all files with the records, their content too."""
    found = verify_output(str(root / "out")).findings
    if found:
        raise SystemExit(f"the output has faults: {found[0]}")


def _prune(root: Path, num_clips: int) -> None:
    """List what is left of videos that are gone, every tenth."""
    if not prune_output(str(root / "out")).files:
        raise SystemExit("nothing is left over")


def _prepare_copies(root: Path, num_clips: int) -> None:
    root.mkdir(parents=True)
    export_plan.write_input(root, num_clips, with_files=False)


def _copies(root: Path, num_clips: int) -> None:
    """Plan the copies of the media of all clips, without files: what is known of the clips, the groups, their plans."""
    stage = ExportStage(str(root), str(root / "data"), str(root), format="parquet")
    sources = export_plan.MadeUp(**vars(stage._sources()), made_up=num_clips)
    with tempfile.TemporaryDirectory() as scratch:
        clips = ExportedClips(choose(sources, 0, Path(scratch)), stage.shards, Path(scratch))
        table, state = (
            ClipTable(clips, stage.input, stage.output, copies_media=True),
            StageState(stage.output, stage.name),
        )
        units = table.copies(state)
        clips.add_hashes(sources.hashes())
        with table.planned(state, {unit.key for unit in units}):
            pass


def _centres(root: Path, num_clips: int) -> None:
    """The centres of the cells for clips of ten seconds."""
    count = number_of_cells(20 * num_clips, CELL_SEGMENTS)
    sample = np.random.default_rng(0).integers(-50, 50, (SAMPLE_ROWS * count, 198), np.int8)
    centres_of(sample, count)


STEPS = {
    "quality": (_prepare_nothing, _quality),
    "align": (_prepare_align, _align),
    "verify": (_prepare_output, _verify),
    "prune": (_prepare_output, _prune),
    "copies": (_prepare_copies, _copies),
    "centres": (_prepare_nothing, _centres),
}
"""Name → what prepares a step for a number of clips in a folder, in a process of its own, and the step."""

if __name__ == "__main__":
    main()
