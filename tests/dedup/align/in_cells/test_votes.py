"""Votes of a cell: what very many lines show votes for the same few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.in_cells.cells import thinned
from curator_dask.dedup.align.in_cells.votes import (
    FIRST_OTHERS,
    LEADERS,
    MOST_LINES,
    Pairs,
    may_vote,
    moving_votes,
    voting_pairs,
)
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


class TestVotingPairs:
    """Rows of the other side: two or three per line; a row that is popular is near half of them, the others near few."""

    line = np.sort(np.random.default_rng(1).integers(0, 2000, 5000))
    share = np.where(np.arange(300) % 3 == 0, 0.5, 0.002)
    alike = np.random.default_rng(2).random((300, 5000)) < share[:, None]

    def test_are_those_of_a_comparison_of_all_rows(self) -> None:
        i, j = np.nonzero(self.alike)
        votes = may_vote(i, self.line[j])
        found = self.pairs([])
        assert sorted(found) == sorted(zip(i[votes].tolist(), j[votes].tolist(), strict=True))

    def test_rows_that_met_enough_lines_are_not_compared_any_further(self) -> None:
        compared: list[tuple[int, int]] = []
        self.pairs(compared)
        assert max(others for _, others in compared) > FIRST_OTHERS
        last = [rows for rows, others in compared if others > FIRST_OTHERS + 8]
        assert max(last) <= 256 * 2 // 3 + 1

    def pairs(self, compared: list[tuple[int, int]]) -> list[tuple[int, int]]:
        def near(rows: NDArray[np.int64], others: slice) -> Pairs:
            compared.append((len(rows), others.stop - others.start))
            i, j = np.nonzero(self.alike[rows, others])
            return i, j, np.ones(len(i))

        return [
            pair
            for i, j, _ in voting_pairs(len(self.alike), self.line, near, 256)
            for pair in zip(i.tolist(), j.tolist(), strict=True)
        ]
