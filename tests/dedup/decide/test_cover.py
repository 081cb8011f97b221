"""The rule `overlap` on arrays: which clips go, which kept clips cover them, and in which order clips are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.decide.cover import removed_by_cover, strength_that_keeps
from curator_dask.dedup.decide.covered_by import Covers, kept_covers
from curator_dask.dedup.decide.source_order import SourceClips, order_by_source
from curator_dask.dedup.decide.standing import standing_overlaps
from curator_dask.dedup.decide.stretches import SECOND, Overlaps, Stretches, covered_stretches, joined_overlaps
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import ParameterError


@dataclass
class Shared:
    """An overlap in seconds."""

    row: int
    other: int
    span: tuple[float, float]
    other_span: tuple[float, float]
    still: bool = False
    strength: int = 1000


def overlaps_of(shared: list[Shared]) -> Overlaps:
    def spans(values: list[tuple[float, float]]) -> np.ndarray:
        return np.rint(np.array(values, np.float64).reshape(-1, 2) * SECOND).astype(np.int64)

    return Overlaps(
        np.array([one.row for one in shared], np.int64),
        np.array([one.other for one in shared], np.int64),
        spans([one.span for one in shared]),
        spans([one.other_span for one in shared]),
        np.array([one.still for one in shared], np.bool_),
        np.array([one.strength for one in shared], np.int64),
    )


def stretches_of(shared: list[Shared], length: np.ndarray) -> Stretches:
    return covered_stretches(overlaps_of(shared), length)


def removed(
    shared: list[Shared], num_clips: int = 3, order: list[int] | None = None, min_cover: float = 0.8
) -> list[int]:
    """Which of some clips of ten seconds are removed."""
    length = np.full(num_clips, 10 * SECOND)
    place = np.argsort(order if order is not None else np.arange(num_clips))
    return np.flatnonzero(removed_by_cover(stretches_of(shared, length), length, place, min_cover)).tolist()


TWO_TOGETHER = [Shared(0, 2, (4, 10), (0, 6)), Shared(1, 2, (0, 4), (6, 10))]


def test_two_clips_cover_one_together():
    assert removed(TWO_TOGETHER) == [2]
    assert removed(TWO_TOGETHER, order=[2, 0, 1]) == []  # neither is covered by clip 2 to 80 %
    assert removed(TWO_TOGETHER[:1]) == []


def test_only_clips_that_stay_count():
    """0 and 1 are copies, 1 and 2 are copies, and nobody knows that 0 and 2 are."""
    chain = [Shared(0, 1, (0, 10), (0, 10)), Shared(1, 2, (0, 10), (0, 10))]
    assert removed(chain) == [1]


@pytest.mark.parametrize(("min_cover", "gone"), [(0.7, [1]), (0.8, [1]), (0.8001, []), (1.0, [])])
def test_the_share_that_must_be_covered(min_cover, gone):
    assert removed([Shared(0, 1, (0, 8), (2, 10))], 2, min_cover=min_cover) == gone


def test_a_share_that_is_none():
    for min_cover in (0, 1.1):
        with pytest.raises(ParameterError, match=f"min_cover must be above 0 and at most 1, got {min_cover}"):
            removed([], min_cover=min_cover)


def test_a_still_picture():
    """Three seconds of a slide show all of a slide of three seconds, but not all of one that stands for nine."""
    assert removed([Shared(0, 1, (0, 9), (0, 3), still=True)], 2) == []
    assert removed([Shared(0, 1, (0, 9), (0, 3), still=True)], 2, order=[1, 0]) == []
    assert removed([Shared(0, 1, (0, 9), (0, 4), still=True)], 2, order=[1, 0]) == [0]
    assert removed([Shared(1, 0, (0, 9), (0, 4), still=True)], 2) == [1]


class TestStandingPictures:
    """Clip 0 and clip 1 show one slide; clip 2 is of a copy that shows the end of clip 0 and the beginning of clip 1."""

    slide = Shared(0, 1, (0, 10), (0, 10), still=True, strength=940)
    talk = (Shared(2, 0, (0, 6), (4, 10)), Shared(1, 2, (0, 4), (6, 10), strength=970))

    def found(self, *shared: Shared) -> Overlaps:
        return standing_overlaps(overlaps_of(list(shared)))

    def test_a_clip_that_goes_passes_its_cover_on_to_the_clip_with_its_slide(self):
        shared = overlaps_of([self.slide, *self.talk])
        length, place = np.full(3, 10 * SECOND), np.arange(3)
        directly = removed_by_cover(covered_stretches(shared, length), length, place, 0.8)
        every = joined_overlaps(shared, standing_overlaps(shared))
        both = removed_by_cover(covered_stretches(every, length), length, place, 0.8)
        assert directly.tolist() == [False, True, False]
        assert both.tolist() == [False, True, True]

    def test_each_way_through_either_clip_is_found_once(self):
        found = self.found(self.slide, *self.talk)
        assert list(zip(found.row.tolist(), found.other.tolist(), strict=True)) == [(2, 1), (2, 0)]
        assert (found.span // SECOND).tolist() == [[0, 6], [6, 10]]
        assert found.strength.tolist() == [940, 940]
        assert found.still.all()

    def test_only_the_seconds_in_which_the_picture_stands_count(self):
        found = self.found(Shared(0, 1, (7, 9), (0, 5), still=True), self.talk[0])
        assert (found.span // SECOND).tolist() == [[3, 5]]
        assert (found.other_span // SECOND).tolist() == [[0, 5]]

    def test_likenesses_of_pictures_do_not_add_up(self):
        assert len(self.found(self.slide, Shared(1, 2, (0, 10), (0, 10), still=True))) == 0

    def test_moving_overlaps_alone_lead_nowhere(self):
        assert len(self.found(*self.talk)) == 0

    def test_a_clip_is_not_covered_by_itself(self):
        assert len(self.found(self.slide, Shared(0, 1, (0, 5), (5, 10)))) == 0


def test_stretches_that_lie_in_each_other_count_once():
    inside = [Shared(0, 1, (0, 7), (0, 7)), Shared(0, 1, (1, 3), (2, 4)), Shared(0, 1, (2, 3), (6.5, 7.5))]
    assert removed(inside, 2) == []
    assert removed([*inside, Shared(0, 1, (0, 0.5), (7.5, 8))], 2) == [1]


def test_clips_of_unknown_length_stay():
    length = np.array([10, 0]) * SECOND
    stretches = stretches_of([Shared(0, 1, (0, 10), (0, 10))], length)
    assert not removed_by_cover(stretches, length, np.arange(2), 0.8).any()


def test_the_kept_clips_are_named():
    """Clip 3 shows 6 s of clip 2, clip 0 its first 4 s in two stretches, clip 1 nothing that these do not show."""
    shared = [
        Shared(2, 3, (4, 10), (0, 6)), Shared(0, 2, (0, 2), (0, 2)), Shared(0, 2, (5, 7), (2, 4)),
        Shared(1, 2, (0, 3), (3, 6)),
    ]  # fmt: skip
    length = np.full(4, 10 * SECOND)
    gone = np.array([False, False, True, False])
    covers = kept_covers(stretches_of(shared, length), gone, np.arange(4))
    assert covers.covered.tolist() == [0, 0, 10 * SECOND, 0]
    assert (covers.first.tolist(), covers.kept.tolist()) == ([0, 0, 0, 2, 2], [3, 0])
    assert covers.overlap.tolist() == [-1, -1, 0, -1]


MANY = RankingStrategy.metadata_based(["pixels"], ascending=False)


def source_clips(starts: dict[str, list[float]]) -> SourceClips:
    names = sorted(starts)
    source = np.concatenate([np.full(len(starts[name]), number) for number, name in enumerate(names)])
    start = np.rint(np.concatenate([starts[name] for name in names]) * SECOND).astype(np.int64)
    return SourceClips(source, names, start, np.full(len(source), 10 * SECOND), np.arange(len(source)))


def test_a_copy_cut_at_other_places_keeps_one_of_the_two():
    """The mosaic trap: single clips are ranked so that those of both videos alternate."""
    clips = source_clips({"copy": [0, 10, 20, 30], "video": [0, 10, 20, 30, 40]})
    at = np.where(clips.source == 0, clips.start + 4 * SECOND, clips.start) / SECOND  # the copy begins 4 s later
    shared = []
    for row in range(4):
        for other in range(4, 9):
            start, end = max(at[row], at[other]), min(at[row], at[other]) + 10
            if end > start:
                shared.append(Shared(row, other, *((start - at[one], end - at[one]) for one in (row, other))))
    pixels = np.array([100, 900, 100, 900, 900, 100, 900, 100, 900])
    single = np.lexsort((np.arange(9), -pixels)).tolist()
    assert len(removed(shared, 9, single)) < 4
    order = order_by_source(clips, {"pixels": pixels}, MANY)
    assert clips.source[order].tolist() == [1] * 5 + [0] * 4
    assert removed(shared, 9, order.tolist()) == [0, 1, 2, 3]


def test_the_order_of_sources():
    clips = source_clips({"a": [10, 0], "b": [0], "c": [0, 5], "d": [0]})

    def order(values: list[object], strategy: RankingStrategy) -> str:
        ranked = clips.source[order_by_source(clips, {"x": values}, strategy)]
        return "".join("abcd"[one] for one in dict.fromkeys(ranked.tolist()))

    assert order([1, 1, 3, 1, 1, 3], RankingStrategy.metadata_based(["x"], ascending=False)) == "bdac"
    assert order([1, 1, 3, 1, 1, 1], RankingStrategy.metadata_based(["x"])) == "dacb"
    assert order([1, None, np.nan, 5, 1, 1], RankingStrategy.metadata_based(["x"], ascending=False)) != ""
    assert order(["p", "q", "q", "q", "z", "a"], RankingStrategy.metadata_based(["x"])) == "dacb"
    assert order(["p", "q", "q", "q", "z", None], RankingStrategy.metadata_based(["x"], ascending=False)) == "cabd"
    nulls = np.array([np.nan, np.nan, 1, 1, 1, np.nan])
    assert order(nulls, RankingStrategy.metadata_based(["x"], ascending=False)) == "cbad"
    assert sorted(order([0] * 6, RankingStrategy.random(3))) == list("abcd")
    assert order_by_source(clips, {"x": [0] * 6}, RankingStrategy.metadata_based(["x"])).tolist()[:2] == [1, 0]


@pytest.mark.parametrize(
    ("target_keep", "strength", "num_kept"), [(0, 0, 2), (0.5, 0, 2), (0.51, 700, 3), (0.75, 700, 3), (1, 901, 4)]
)
def test_the_weakest_overlaps_are_left_out_to_keep_a_share(target_keep, strength, num_kept):
    shared = [
        Shared(0, 1, (0, 10), (0, 10), strength=900), Shared(0, 2, (0, 10), (0, 10), strength=600),
        Shared(0, 3, (0, 5), (5, 10), strength=700),
    ]  # fmt: skip
    length = np.full(4, 10 * SECOND)
    stretches = stretches_of(shared, length)

    def num_removed(least: int) -> int:
        strong = stretches[stretches.strength >= least]
        return int(removed_by_cover(strong, length, np.arange(4), 0.8).sum())

    levels = np.unique(stretches.strength)
    found = strength_that_keeps(levels, num_removed, 4, target_keep)
    assert num_removed(found) == 4 - num_kept
    assert found == strength


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Shared], np.ndarray, np.ndarray, float]:
    num_clips = draw(st.integers(1, 8))
    length = np.array(draw(st.lists(st.integers(0, 12), min_size=num_clips, max_size=num_clips))) * SECOND
    clip, second = st.integers(0, num_clips - 1), st.integers(-1, 13)
    span = st.tuples(second, second).map(lambda pair: (min(pair), max(pair)))
    shared = draw(st.lists(st.builds(Shared, clip, clip, span, span, st.booleans()), max_size=25))
    order = np.array(draw(st.permutations(range(num_clips))))
    return shared, length, order, draw(st.sampled_from([0.1, 0.5, 0.8, 1.0]))


def covered_by_hand(shared: list[Shared], length: np.ndarray, row: int, by: set[int]) -> float:
    """Seconds of a clip that others show, counted in steps of half a second."""
    seen = set()
    for one in shared:
        for covered, other, span, shown in (
            (one.row, one.other, one.span, one.other_span), (one.other, one.row, one.other_span, one.span)
        ):  # fmt: skip
            enough = not one.still or shown[1] - shown[0] >= min(4, span[1] - span[0])
            if covered == row and other != row and other in by and enough:
                seen |= set(range(int(2 * span[0]), int(2 * span[1])))
    return len(seen & set(range(int(2 * length[row] / SECOND)))) / 2


@settings(max_examples=200, deadline=None)
@given(crowd=crowds())
def test_what_must_hold(crowd):
    """Each removed clip is covered by clips that stay, no kept one is by those kept before it; and all are named."""
    shared, length, order, min_cover = crowd
    place = np.argsort(order)
    stretches = stretches_of(shared, length)
    gone = removed_by_cover(stretches, length, place, min_cover)
    covers: Covers = kept_covers(stretches, gone, place)
    kept = set(np.flatnonzero(~gone).tolist())
    for row in range(len(length)):
        before = {one for one in kept if place[one] < place[row]}
        needed = min_cover * length[row] / SECOND
        assert gone[row] == (length[row] > 0 and covered_by_hand(shared, length, row, before) >= needed - 1e-6)
        named = covers.kept[covers.first[row] : covers.first[row + 1]].tolist()
        if not gone[row]:
            assert (named, covers.covered[row], covers.overlap[row]) == ([], 0, -1)
            continue
        assert named
        assert set(named) <= kept
        seconds = covers.covered[row] / SECOND
        assert seconds == covered_by_hand(shared, length, row, kept) == covered_by_hand(shared, length, row, set(named))
        own = [covered_by_hand(shared, length, row, {one}) for one in named]
        assert own == sorted(own, reverse=True)
        assert own[0] == max(covered_by_hand(shared, length, row, {one}) for one in kept)
        best = shared[covers.overlap[row]]
        assert {best.row, best.other} == {row, named[0]}


def test_longer_sources_come_first_where_distances_rank() -> None:
    clips = SourceClips(np.array([0, 1, 1]), ["copy", "film"], np.array([0, 0, 9]), np.array([9, 9, 9]), np.arange(3))

    order = order_by_source(clips, {"cosine_dist_to_cent": [0.9, 0.1, 0.2]}, RankingStrategy.of("hard"))

    assert order.tolist() == [1, 2, 0]
