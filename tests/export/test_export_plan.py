from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError, ParameterError
from curator_dask.export.plan import PlanParameters
from curator_dask.export.planned.closing import shard_ends
from curator_dask.export.ustar import archive_bytes, member_bytes
from tests.export.planning import plan_shards


@pytest.mark.parametrize(
    ("sizes", "limits", "ends"),
    [
        ([], (10**6, 10), []),
        ([1000] * 7, (10**6, 3), [3, 6, 7]),
        ([1000] * 6, (10**6, 3), [3, 6]),
        ([20_000] * 5, (51_200, 10), [2, 4, 5]),
        ([20_000] * 5, (51_199, 10), [1, 2, 3, 4, 5]),
        ([500_000, 1000, 1000], (51_200, 10), [1, 3]),
        ([1000] * 7, (10**6, 10, 3), [2, 4, 7]),
        ([1000] * 2, (10**6, 10, 5), [1, 2]),
        ([1000] * 9, (10**6, 2, 3), [2, 4, 6, 8, 9]),
        ([30_000, 30_000, 1000, 1000, 1000, 1000], (51_200, 10, 3), [1, 2, 4, 6]),
    ],
    ids=[
        "nothing",
        "count",
        "count, even",
        "bytes",
        "a byte short",
        "one is too large",
        "even parts",
        "as many as there are",
        "count makes more",
        "bytes and parts",
    ],
)
def test_where_shards_end(sizes, limits, ends):
    assert shard_ends(sizes, *limits) == ends


@given(
    st.lists(st.integers(1, 100).map(lambda blocks: 512 * blocks), min_size=1, max_size=60),
    st.integers(1, 200_000),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_limits_hold_for_every_shard(sizes, shard_bytes, shard_clips, min_shards):
    ends = shard_ends(sizes, shard_bytes, shard_clips, min_shards)
    assert ends[-1] == len(sizes)
    assert len(ends) >= min(min_shards, len(sizes))
    for start, end in pairwise([0, *ends]):
        assert 0 < end - start <= shard_clips
        assert end - start == 1 or archive_bytes(sum(sizes[start:end])) <= shard_bytes


def test_the_size_of_a_sample_counts_headers_and_padding(record):
    clip = record(1, num_bytes=513)
    (plain,), (more,) = plan_shards([clip]), plan_shards([clip], extra_sizes={"npy": lambda _: 9 * 1024})
    assert plain.num_bytes == archive_bytes((512 + 512) + (512 + 1024)) == 10_240
    assert more.num_bytes == archive_bytes((512 + 512) + (512 + 1024) + (512 + 9 * 1024)) == 20_480
    assert member_bytes(0) == 512
    assert archive_bytes(0) == archive_bytes(9216) == 10_240 < archive_bytes(9217)


def test_names_are_contiguous_in_each_split(record):
    records = [record(number, source_video=f"film{number}") for number in range(40)]
    plans = plan_shards(records, PlanParameters(shard_clips=4, splits={"train": 0.8, "val": 0.2}))
    assert [plan.path for plan in plans] == [
        *(f"train/{number:06d}.tar" for number in range(8)),
        *(f"val/{number:06d}.tar" for number in range(2)),
    ]
    five = plan_shards(records, PlanParameters(shard_clips=4, name_digits=5))
    assert (five[0].name, five[-1].name) == ("00000.tar", "00009.tar")
    short = plan_shards(records, PlanParameters(shard_clips=4, name_digits=1, splits={"train": 1.0}, min_shards=11))
    assert short[-1].name == "10.tar"


def test_sorted_order_is_by_source_and_time(record):
    (plan,) = plan_shards([record(number) for number in range(12)], PlanParameters(order="sorted"))
    assert [(clip.source_video, clip.start_s) for clip in plan.samples] == [
        (f"/videos/film {film}.mp4", start) for film in range(3) for start in (0.0, 10.0, 20.0, 30.0)
    ]


def test_shuffled_order_is_the_seeds(record):
    records = [record(number) for number in range(300)]
    first, again, other = (plan_shards(records, PlanParameters(seed=seed))[0].samples for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(first, key=lambda clip: clip.id) == sorted(other, key=lambda clip: clip.id)
    neighbours = sum(a.source_video == b.source_video for a, b in pairwise(first))
    assert 60 < neighbours < 140, "a third of the neighbours share one of three films by chance"


@settings(deadline=None)
@given(st.permutations(range(30)), st.sampled_from(["shuffled", "sorted"]))
def test_the_plan_does_not_depend_on_the_order_of_the_records(record, numbers, order):
    parameters = PlanParameters(order=order, shard_clips=4, splits={"train": 0.5, "val": 0.5})
    expected = plan_shards([record(number) for number in range(30)], parameters)
    assert plan_shards([record(number) for number in numbers], parameters) == expected


def test_nothing_to_export():
    with pytest.raises(InputError, match="there are no clips to export"):
        plan_shards([])


def test_ids_and_keys_are_unique(record):
    with pytest.raises(InputError, match=f"clip {record(1).id} comes 2 times"):
        plan_shards([record(1), record(2), record(1)])
    with pytest.raises(InputError, match="clip-3754d6cb3a38e1185e5b382d5f3ef3f1 comes 2 times"):
        plan_shards([record(1, id="../../etc/passwd"), record(2, id="clip-3754d6cb3a38e1185e5b382d5f3ef3f1")])


def test_only_members_that_every_loader_understands(record):
    with pytest.raises(ParameterError, match="extension 'pkl' must be one of npy, txt, webp"):
        plan_shards([record(1)], extra_sizes={"pkl": lambda _: 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": "random"}, "order 'random' must be one of shuffled, sorted"),
        ({"seed": -1}, "seed (-1) must be >= 0"),
        ({"shard_bytes": 0}, "shard_bytes (0) must be > 0"),
        ({"shard_clips": 0}, "shard_clips (0) must be > 0"),
        ({"min_shards": 0}, "min_shards (0) must be > 0"),
        ({"name_digits": 0}, "name_digits (0) must be 1 to 12"),
        ({"splits": {"train": 0.5}}, "add up to 0.5"),
    ],
)
def test_parameters_that_cannot_be_meant(changes, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        PlanParameters(**changes)
