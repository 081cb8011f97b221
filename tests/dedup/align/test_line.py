"""Tracks of clips become the line of their source."""

from __future__ import annotations

import numpy as np

from curator_dask.dedup.align.line import lay_out
from tests.dedup.align.lines import scene, track


def test_clips_lie_where_they_begin_and_gaps_are_not_usable() -> None:
    line = lay_out([track(scene(1, 4), start_s=1.0), track(scene(2, 4), start_s=5.0)])

    assert line.usable.tolist() == [False] * 2 + [True] * 4 + [False] * 4 + [True] * 4
    assert not line.windows[~line.usable].any()


def test_where_clips_overlap_the_first_counts() -> None:
    first, second = scene(1, 6), scene(2, 6)

    line = lay_out([track(first), track(second, start_s=2.0)])

    assert np.array_equal(line.windows, np.rint(np.concatenate([first, second[2:]])).astype(np.int16))


def test_still_stretches_keep_their_pictures() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (2, 1024)).astype(np.uint8)
    rows = np.repeat(scene(1, 1), 4, axis=0)

    line = lay_out([track(rows, picture=pictures[0]), track(rows, start_s=2.0, picture=pictures[1])])

    assert line.still.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(line.pictures, pictures)


def test_a_source_without_clips_has_an_empty_line() -> None:
    assert len(lay_out([])) == 0
