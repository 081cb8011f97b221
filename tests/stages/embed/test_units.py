"""Units of the clip index hold no clips: workers read the rows again, and find just the clips that were planned."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from curator_dask import EmbedStage, InputError
from curator_dask.runtime.units import Unit
from curator_dask.stages.embed.units import CLIPS_PER_UNIT, ListedTask, plan_units, units_of_video
from tests.stages.builders import write_clip_index
from tests.whole_clip_index import read_clip_index


def row(video: str, span: int, **other: Any) -> dict[str, Any]:
    clip = f"{video}-{span:03d}"
    facts = {"id": clip, "relative_path": video, "span_index": span, "start_s": span * 2.0, "end_s": span * 2.0 + 2}
    return {
        **facts,
        "clip_path": f"clips/{clip}.mp4",
        "encoder": "libopenh264",
        "num_bytes": span,
        "valid": True,
        **other,
    }


ROWS = [
    *(row("a.mp4", span) for span in range(CLIPS_PER_UNIT + 3)),
    *(row("b\\\\c.mp4", span, valid=span != 1) for span in range(3)),
    row("failed.mp4", 0, valid=False),
    row("z.mp4", 0),
]


def spec_of(out: Path):
    return EmbedStage(str(out), frames_from="clips").resolved().spec()


@pytest.fixture
def planned(tmp_path) -> list[Unit[ListedTask]]:
    write_clip_index(tmp_path, ROWS)
    return list(plan_units(spec_of(tmp_path)))


def test_the_clips_of_a_unit_are_read_where_they_lie(planned):
    names = [[clip.id for clip in pickle.loads(pickle.dumps(unit.task)).whole().clips] for unit in planned]
    assert [len(ids) for ids in names] == [CLIPS_PER_UNIT, 3, 2, 1] == [unit.task.num_clips for unit in planned]
    assert [name for ids in names for name in ids] == [one["id"] for one in ROWS if one["valid"]]
    assert planned[2].task.clips[0].source == "b\\c.mp4"


def test_units_are_those_of_the_rows_of_each_video(planned, tmp_path):
    """So digests are those of earlier versions, which kept all rows."""
    spec, rows = spec_of(tmp_path), read_clip_index(planned[0].task.spec.input).to_pylist()
    videos = [[one for one in rows if one["relative_path"] == name] for name in ("a.mp4", "b\\\\c.mp4", "z.mp4")]
    wanted = [unit for video in videos for unit in units_of_video(spec, video)]
    assert [(one.key, one.inputs, one.source, one.share) for one in planned] == [
        (one.key, one.inputs, one.source, one.share) for one in wanted
    ]
    assert [one.task.whole() for one in planned] == [one.task for one in wanted]
    assert [dict(one.parts) for one in planned] == [one.parts for one in wanted]
    assert planned[0].parts["a.mp4-005"] == "a.mp4"


def test_a_unit_can_be_done_without_some_clips(planned):
    task = planned[0].without(planned[0].task, frozenset({"a.mp4-001"}))
    assert task.whole().aside == {"a.mp4-001"}
    assert len(task.whole().to_read().clips) == CLIPS_PER_UNIT - 1


def test_an_index_that_changes_is_an_error_and_one_that_is_there_again_is_none(planned, tmp_path):
    write_clip_index(tmp_path, [one for one in ROWS if one["relative_path"] != "a.mp4"])
    with pytest.raises(InputError, match=r"has changed during the run: run again"):
        planned[0].task.whole()
    write_clip_index(tmp_path, ROWS[:2])
    with pytest.raises(InputError, match=r"has changed during the run: run again"):
        planned[0].task.whole()
    with pytest.raises(InputError, match=r"has changed during the run: run again"):
        planned[-1].task.whole()
    write_clip_index(tmp_path, ROWS)  # what this process still holds is the index before it
    assert [clip.id for clip in planned[-1].task.whole().clips] == ["z.mp4-000"]


def test_a_pass_over_the_source_is_one_unit_with_all_spans(tmp_path):
    write_clip_index(tmp_path, [{**one, "clip_path": ""} for one in ROWS])
    units = plan_units(EmbedStage(str(tmp_path), frames_from="source", video_dir="/videos").resolved().spec())
    assert [unit.task.num_clips for unit in units] == [CLIPS_PER_UNIT + 3, 2, 1]
    assert all(unit.task.from_source for unit in units)
    assert [span.index for span in units[1].task.whole().source_spans] == [0, 1, 2]
