"""The search for the parts of a unit that kill its worker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curator_dask.runtime.failing.halving import MOST_DEADLY, Halving


def search(parts: list[str], deadly: set[str]) -> tuple[set[str], int, int]:
    """What the search blames, and in how many tries, and how many workers it cost."""
    halving, tries, deaths = Halving(parts), 0, 0
    while (aside := halving.aside()) is not None:
        survived = not deadly & ({*parts} - aside)
        halving.tell(survived=survived)
        tries, deaths = tries + 1, deaths + (not survived)
    return halving.deadly, tries, deaths


@given(st.integers(1, 100), st.data())
def test_all_deadly_parts_are_found_and_no_other(number, data):
    parts = [f"clip{one:03}" for one in range(number)]
    deadly = data.draw(st.sets(st.sampled_from(parts), max_size=MOST_DEADLY - 1))
    assert search(parts, deadly)[0] == deadly


def test_one_part_of_many_costs_few_workers():
    parts = [f"clip{one:03}" for one in range(32)]
    found, tries, deaths = search(parts, {"clip017"})
    assert (found, tries, deaths) == ({"clip017"}, 10, 5)


def test_a_unit_of_which_everything_kills_comes_to_an_end():
    parts = [f"clip{one:03}" for one in range(100)]
    found, _, deaths = search(parts, {*parts})
    assert found == {*parts}
    assert deaths < 15
