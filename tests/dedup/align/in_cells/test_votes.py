"""Votes of a cell: what very many lines show votes for the same few of them."""

from __future__ import annotations

import numpy as np

from curator_dask.dedup.align.in_cells.cells import thinned
from curator_dask.dedup.align.in_cells.votes import LEADERS, MOST_LINES, moving_votes
from curator_dask.dedup.align.seeds import Segments, segments_of
from tests.dedup.align.lines import line_of, scene


def test_each_copy_of_what_very_many_lines_show_votes_for_leaders() -> None:
    random, viral, count = np.random.default_rng(0), scene(7, 20), 3 * MOST_LINES
    lines = []
    for number in range(count):
        film, place = scene(1000 + number, 40), int(random.integers(0, 20))
        film[place : place + 20] = viral + random.normal(0, 10, (20, film.shape[1]))
        lines.append(line_of(film))
    every = segments_of(lines, 0.05)
    thin = thinned(every)
    some = Segments(every.rows[thin], every.line[thin], every.start[thin])

    votes = list(moving_votes(every, some, 0.6))
    line_x, line_y = (np.concatenate([getattr(one, name) for one in votes]) for name in ("line_x", "line_y"))
    pairs = set(zip(line_x.tolist(), line_y.tolist(), strict=True))
    firsts = {min(x for x, other in pairs if other == y and x != y) for y in range(1, count)}

    assert max(firsts) < 3 * LEADERS
    assert len(pairs) < count * (count - 1) / 4
