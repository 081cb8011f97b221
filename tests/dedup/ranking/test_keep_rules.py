from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.errors import ParameterError


@pytest.mark.parametrize(
    ("words", "columns", "ascending"),
    [
        ("largest", ("pixels",), (False,)),
        ("largest,longest", ("pixels", "duration_s"), (False, False)),
        ("smallest, shortest", ("pixels", "duration_s"), (True, True)),
        ("score:desc,largest", ("score", "pixels"), (False, False)),
        ("a:b:asc", ("a:b",), (True,)),
    ],
)
def test_words_are_a_ranking(words, columns, ascending):
    strategy = parse_keep(words)
    assert (strategy.metadata_cols, strategy.ascending) == (columns, ascending)


def test_the_largest_comes_first_and_the_longest_of_those():
    columns = {"pixels": np.array([1, 9, 9, 4]), "duration_s": np.array([9.0, 2.0, 3.0, 9.0])}
    assert parse_keep("largest,longest").rank(columns, np.array(list("abcd"))).tolist() == [2, 1, 3, 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sharpest", "'sharpest' is none of largest, smallest, longest, shortest"),
        ("", "'' is none of"),
        ("score", "'score' is none of"),
        ("score:up", "'score:up' is none of"),
        (":desc", "':desc' is none of"),
        ("largest,pixels:asc", "ranks by 'pixels' more than once"),
    ],
)
def test_other_words_are_refused(words, message):
    with pytest.raises(ParameterError, match=message):
        parse_keep(words)
