from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError, ParameterError
from curator_dask.export.planned.columns import record_table
from curator_dask.export.planned.families import Families
from curator_dask.export.samples import ClipRecord
from curator_dask.export.splits import check_splits, parse_splits

THREE_WAYS = {"train": 0.8, "val": 0.1, "test": 0.1}


def clip(number: int, source: str, group: str = "") -> ClipRecord:
    return ClipRecord(f"clip{number:06d}", source, 0.0, 10.0, 1000, group=group)


def assign_splits(records: list[ClipRecord], shares: dict[str, float], seed: int) -> dict[str, list[ClipRecord]]:
    table, families = record_table(records), Families()
    for start in range(0, len(table), 7):
        families.add(table.slice(start, 7))
    numbers = families.split(shares, seed).of(table["source_video"])
    return {
        name: [one for one, of_clip in zip(records, numbers, strict=True) if of_clip == number]
        for number, name in enumerate(shares)
    }


def split_of(result):
    return {record.id: split for split, records in result.items() for record in records}


def test_parse():
    assert parse_splits("train=.98,val=.02") == {"train": 0.98, "val": 0.02}
    assert parse_splits("train=1") == {"train": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train", "is not NAME=SHARE"),
        ("train=x", "'train=x' in 'train=x' is not NAME=SHARE"),
        ("train=.5,train=.5", "occurs twice"),
        ("train=.5,val=.4", "add up to 0.9"),
        ("train=1.5,val=-.5", "(1.5) must be above 0"),
        ("train=nan", "(nan) must be above 0"),
        ("train=1,val=0", "(0.0) must be above 0"),
        ("../x=1", "'../x' must be lower-case"),
        ("all=1", "not 'all'"),
        ("tr-ain=1", "must be lower-case"),
    ],
)
def test_shares_that_cannot_be_meant(text, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        parse_splits(text)


def test_no_split_at_all():
    with pytest.raises(ParameterError, match="add up to 0"):
        check_splits({})


def test_the_worked_example_of_the_module():
    clips = [clip(0, "film1", "g1"), clip(1, "film1", "g2"), clip(2, "film2", "g2"), clip(3, "film3")]
    split = split_of(assign_splits(clips, {"train": 0.75, "val": 0.25}, 0))
    assert [split[c.id] for c in clips] == ["train", "train", "train", "val"]


def test_shares_are_met_where_families_are_small():
    clips = [clip(number, f"film{number // 5}") for number in range(5000)]
    sizes = {split: len(records) for split, records in assign_splits(clips, {"train": 0.98, "val": 0.02}, 3).items()}
    assert sizes == {"train": 4900, "val": 100}


def test_one_giant_source_goes_to_the_largest_split_and_the_others_still_get_theirs():
    clips = [clip(number, "giant" if number < 300 else f"film{number}") for number in range(1000)]
    result = assign_splits(clips, {"train": 0.98, "val": 0.02}, 0)
    assert {split: len(records) for split, records in result.items()} == {"train": 980, "val": 20}
    assert all(record.source_video != "giant" for record in result["val"])


def test_every_split_gets_something_while_there_are_families_enough():
    clips = [clip(0, "a"), clip(1, "b"), clip(2, "b"), clip(3, "c"), clip(4, "c"), clip(5, "c")]
    result = assign_splits(clips, {"train": 0.98, "val": 0.01, "test": 0.01}, 0)
    assert {split: len(records) for split, records in result.items()} == {"train": 3, "val": 1, "test": 2}


def test_too_few_families():
    clips = [clip(0, "a", "g"), clip(1, "b", "g"), clip(2, "b")]
    with pytest.raises(InputError, match=r"3 clips in only 1 group of .* the 2 splits train, val"):
        assign_splits(clips, {"train": 0.5, "val": 0.5}, 0)


def test_the_seed_draws_other_families():
    clips = [clip(number, f"film{number}") for number in range(200)]
    first, second = (assign_splits(clips, {"train": 0.9, "val": 0.1}, seed)["val"] for seed in (0, 1))
    assert len(first) == len(second) == 20
    assert first != second


def count_families(catalogue) -> int:
    """Count by brute force: sets that share a member are merged until no two of them do."""
    families: list[set] = []
    for source, group in catalogue:
        merged = {source, group} - {""}
        for family in [family for family in families if family & merged]:
            families.remove(family)
            merged |= family
        families.append(merged)
    return len(families)


catalogues = st.lists(
    st.tuples(st.integers(0, 12), st.one_of(st.just(""), st.integers(0, 8).map("g{}".format))), min_size=1
)


@settings(deadline=None)
@given(catalogues, st.integers(0, 5), st.randoms(use_true_random=False))
def test_no_source_and_no_group_is_ever_parted(catalogue, seed, random):
    clips = [clip(number, f"film{source}", group) for number, (source, group) in enumerate(catalogue)]
    if count_families(catalogue) < len(THREE_WAYS):
        with pytest.raises(InputError, match="ask for fewer splits"):
            assign_splits(clips, THREE_WAYS, seed)
        return
    result = assign_splits(clips, THREE_WAYS, seed)
    split = split_of(result)
    assert sorted(split) == [c.id for c in clips]
    assert all(result.values())
    for name in ("source_video", "group"):
        for value in {getattr(c, name) for c in clips} - {""}:
            assert len({split[c.id] for c in clips if getattr(c, name) == value}) == 1
    shuffled = random.sample(clips, len(clips))
    assert split_of(assign_splits(shuffled, THREE_WAYS, seed)) == split
