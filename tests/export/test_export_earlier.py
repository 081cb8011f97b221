"""Plans in columns are those that earlier versions made with objects: the same shards, and the same digests in their markers."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.quality.measure import Quality
from curator_dask.errors import InputError
from curator_dask.export.plan import PlanParameters
from curator_dask.export.planned.columns import plain_columns, record_table, records_of
from curator_dask.export.planned.json_texts import inputs_and_sizes
from curator_dask.export.samples import ClipMetadata, ClipRecord, clip_json_bytes, clip_record, record_inputs
from curator_dask.files.buckets.buckets import buckets_for
from curator_dask.files.buckets.places import order_of, places
from tests.export import earlier_plan
from tests.export.planning import plan_with_inputs

HOSTILE = [
    "", "a", 'q"uote', "back\\slash", "\\udc80", "new\nline\r\t\x0b", "nul\0l", "\x1b[31m", "\x7f", "\x80\x9f", "é", "e\u0301",
    "\u2028\u2029", "\u202eevil", "\ufeff", "\ud7ff\ue000\uffff", "\U0001f600", "\U0010ffff", "</script>", "../../etc/passwd",
    "a" * 300, "%s{}", "ключ", "null", '"}, {"id": "x',
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 29.97, 10.0, -1.0]),
    st.floats(allow_nan=False, allow_infinity=False),
)
whole = st.integers(-(2**63), 2**63 - 1)
qualities = st.builds(Quality, *[numbers] * 8)
carried = st.dictionaries(texts, st.one_of(st.none(), texts, numbers, st.booleans(), st.lists(whole)), max_size=4)
metadata = st.builds(
    ClipMetadata, carried.map(lambda one: json.dumps(one, allow_nan=False)), st.one_of(st.none(), texts), st.booleans()
)


def records(**fields):
    own = {
        "id": texts.filter(bool), "source_video": texts, "start_s": numbers, "end_s": numbers,
        "num_bytes": st.integers(1, 2**33 - 1), "width": whole, "height": whole, "framerate": numbers, "num_frames": whole,
        "video_codec": texts, "cosine_sim_score": numbers, "max_id": texts, "cluster": whole,
        "group": st.sampled_from(["", "", "g", "\0"]),
    }  # fmt: skip
    return st.builds(ClipRecord, **own, **fields)


many = st.one_of(
    st.lists(records(), min_size=1, max_size=30, unique_by=lambda one: one.id),
    st.lists(records(quality=qualities), min_size=1, max_size=30, unique_by=lambda one: one.id),
    st.lists(records(quality=qualities, metadata=metadata), min_size=1, max_size=30, unique_by=lambda one: one.id),
)


@settings(deadline=None, max_examples=50)
@given(many)
def test_the_texts_that_are_digested_and_the_lengths_of_those_that_are_written(clips):
    inputs, sizes = inputs_and_sizes(record_table(clips))
    assert inputs.to_pylist() == [json.dumps(record_inputs(clip), sort_keys=True) for clip in clips]
    assert sizes.tolist() == [len(clip_json_bytes(clip)) for clip in clips]


@settings(deadline=None, max_examples=50)
@given(many)
def test_records_come_back_from_a_table_as_they_were(clips):
    back = records_of(record_table(clips))
    assert back == clips
    assert [clip_json_bytes(clip) for clip in back] == [clip_json_bytes(clip) for clip in clips]


def num_families(clips: list[ClipRecord]) -> int:
    return len(earlier_plan._families(clips))


def told(clip: ClipRecord) -> str:
    return f"{clip.num_bytes % 7} sha256:{clip.video_codec}"


@settings(deadline=None, max_examples=50)
@given(
    many,
    st.builds(
        PlanParameters,
        order=st.sampled_from(["shuffled", "sorted"]),
        seed=st.integers(0, 3),
        splits=st.sampled_from([{"train": 1.0}, {"train": 0.8, "val": 0.2}, {"a": 0.3, "b": 0.5, "c": 0.2}]),
        shard_bytes=st.sampled_from([10_240, 2**31, 2**34, 2**40]),
        shard_clips=st.integers(1, 9),
        min_shards=st.sampled_from([1, 1, 2, 7]),
    ),
    st.sampled_from([1, 2, 16]),
    st.booleans(),
)
def test_shards_and_their_digests(clips, parameters, num_buckets, has_previews):
    sizes = {"webp": lambda clip: clip.num_bytes % 2000} if has_previews else {}
    how = {"extra_sizes": sizes, "told": told if has_previews else None, "num_buckets": num_buckets}
    if num_families(clips) < len(parameters.splits):
        with pytest.raises(InputError, match="too few for the"):
            plan_with_inputs(clips, parameters, **how)
        return
    plans = plan_with_inputs(clips, parameters, **how)
    expected = earlier_plan.plan_shards(clips, parameters, sizes)
    assert [plan for plan, _ in plans] == expected
    listed = [[told(clip) for clip in plan.samples] if has_previews else None for plan in expected]
    assert [inputs for _, inputs in plans] == [*map(earlier_plan.inputs_of, expected, listed)]


def test_two_thousand_clips(record):
    drawn = random.Random(0)
    clips = [
        record(n, source_video=f"film {drawn.randrange(400)}", group=f"g{drawn.randrange(1000)}" if n % 50 == 0 else "")
        for n in range(2000)
    ]
    for order in ("shuffled", "sorted"):
        parameters = PlanParameters(
            order=order, splits={"train": 0.8, "val": 0.1, "test": 0.1}, shard_clips=170, seed=3
        )
        plans = plan_with_inputs(clips, parameters, num_buckets=32)
        assert [plan for plan, _ in plans] == earlier_plan.plan_shards(clips, parameters)


ROW = {"id": "a", "source_video": "film.mp4", "start_s": 0.0, "end_s": 10.0, "num_bytes": 100}


@pytest.mark.parametrize(
    "column",
    [
        ("start_s", pa.array([3, None], pa.int64())),
        ("start_s", pa.array([0.5, float("nan")])),
        ("framerate", pa.array([float("inf"), None], pa.float32())),
        ("width", pa.array([640.0, float("nan")])),
        ("cluster", pa.array([None, 7], pa.int8())),
        ("max_id", pa.array([None, "b"])),
        ("max_id", pa.array([None, None])),
        ("video_codec", pa.array(["h264", None], pa.large_string())),
        ("group", pa.array(["g", "g"]).dictionary_encode()),
    ],
    ids=lambda column: f"{column[0]} {column[1].type}",
)
def test_columns_become_what_single_values_become(column):
    rows = pa.Table.from_pylist([ROW, {**ROW, "id": "b"}])
    name, values = column
    rows = rows.drop_columns([name]) if name in rows.column_names else rows
    rows = rows.append_column(name, values)
    assert records_of(plain_columns(rows)) == [clip_record(row) for row in rows.to_pylist()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "without an id"),
        ({"num_bytes": 0}, r"clip b: num_bytes \(0\) must be 1"),
        ({"num_bytes": None}, r"clip b: num_bytes \(None\) must be 1"),
        ({"width": 1.5}, "clip b: width is 1.5, which is not a whole number"),
    ],
)
def test_rows_that_cannot_be_meant_name_their_clip(changes, message):
    rows = pa.Table.from_pylist([{**ROW, "width": 2.0}, {**ROW, "id": "b", "width": 2.0, **changes}])
    with pytest.raises(InputError, match=message):
        plain_columns(rows)


def test_equal_places_are_told_apart_by_the_whole_digest():
    ids = pa.array([f"clip {number}" for number in range(50)])
    own = places(ids, 5)
    assert order_of(ids, own, 5).tolist() == np.argsort(own).tolist()
    assert order_of(ids, np.zeros(50, np.uint64), 5).tolist() == np.argsort(own).tolist()


def test_buckets_are_few_where_clips_are_few():
    assert [buckets_for(rows) for rows in (0, 131_072, 131_073, 10_000_000)] == [1, 1, 4, 512]
