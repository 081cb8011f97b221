"""Centres of cells: made at once where there are few, else part by part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from curator_dask.dedup.align.in_cells import centres
from curator_dask.dedup.align.in_cells.cells import PROBES, nearest_cells
from curator_dask.dedup.align.in_cells.centres import AT_ONCE, FIT_ROWS, SAMPLE_ROWS, centres_of
from curator_dask.dedup.align.seeds import LENGTH
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.kmeans.lloyd import kmeans_fit

DIMENSION = 24


def whole_rows(rows: NDArray[np.float64]) -> NDArray[np.int8]:
    return np.rint(rows / np.linalg.norm(rows, axis=1, keepdims=True) * LENGTH).astype(np.int8)


def made_up(num_rows: int, seed: int = 0) -> NDArray[np.int8]:
    return whole_rows(np.random.default_rng(seed).normal(size=(num_rows, DIMENSION)))


def made_at_once(sample: NDArray[np.int8], count: int) -> NDArray[np.float32]:
    unit, _ = normalise(sample.astype(np.float32))
    return np.rint(normalise(kmeans_fit([unit], count, max_iter=10, seed=42).centroids)[0] * np.float32(LENGTH))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Parts get few centres. The list tells of each k-means how many rows and centres it had."""
    for name, value in {"AT_ONCE": 8, "OF_PART": 8, "LEAST_OF_PART": 4, "PARTS": 4, "FIT_ROWS": 1000}.items():
        monkeypatch.setattr(centres, name, value)
    fits: list[tuple[int, int]] = []

    def fit(chunks: Any, k: int, **parameters: Any) -> Any:
        fits.append((sum(map(len, chunks)), k))
        return kmeans_fit(chunks, k, **parameters)

    monkeypatch.setattr(centres, "kmeans_fit", fit)
    return fits


@pytest.mark.parametrize("count", [2, 25, 100])
def test_few_centres_are_those_of_one_k_means(count: int) -> None:
    sample = made_up(SAMPLE_ROWS * count)

    assert np.array_equal(centres_of(sample, count), made_at_once(sample, count))


def test_no_sample_of_few_cells_is_thinned() -> None:
    assert SAMPLE_ROWS * AT_ONCE < FIT_ROWS


def test_no_k_means_has_many_rows_or_centres_however_many_cells_there_are(
    small_parts: list[tuple[int, int]],
) -> None:
    found = centres_of(made_up(6000), 150)

    assert found.shape == (150, DIMENSION)
    assert max(k for _, k in small_parts) == 8
    assert max(rows for rows, _ in small_parts) == 1000
    assert sum(k for _, k in small_parts) > 150  # parts were divided again


def test_copies_meet_in_cells_of_many_centres_about_as_often_as_where_all_are_made_at_once(
    small_parts: list[tuple[int, int]],
) -> None:
    random, films = np.random.default_rng(1), np.random.default_rng(2).normal(size=(400, DIMENSION))
    rows = np.repeat(films, 15, axis=0)
    rows, copies = (whole_rows(rows + random.normal(0, 0.25, rows.shape)) for _ in range(2))

    by_parts, at_once = (share_that_meets(rows, copies, make(rows, 150)) for make in (centres_of, made_at_once))

    assert at_once > 0.9
    assert by_parts > 0.97 * at_once


def share_that_meets(rows: NDArray[np.int8], copies: NDArray[np.int8], of_cells: NDArray[np.float32]) -> float:
    own = nearest_cells(rows.astype(np.float32), of_cells, 1)
    met: NDArray[np.bool_] = (nearest_cells(copies.astype(np.float32), of_cells, PROBES) == own).any(axis=1)
    return float(met.mean())


def test_the_same_rows_give_the_same_centres_and_rows_of_zeros_do_not_count(
    small_parts: list[tuple[int, int]],
) -> None:
    sample = made_up(3000)
    with_zeros = np.insert(sample, np.arange(0, 3000, 10), 0, axis=0)

    assert np.array_equal(centres_of(sample, 70), centres_of(with_zeros, 70))


@pytest.mark.parametrize("num_others", [0, 5, 300])
def test_what_nearly_all_rows_show_gets_few_cells_and_the_others_keep_theirs(
    small_parts: list[tuple[int, int]], num_others: int
) -> None:
    same, others = made_up(1), made_up(num_others, seed=3)
    sample = np.concatenate([others, np.repeat(same, 4000, axis=0)])

    found = centres_of(sample, 100)

    assert len(np.unique(found, axis=0)) >= min(num_others, 50)
    own = nearest_cells(same.astype(np.float32), found, 1)
    assert (found[own[0, 0]] == same).all()


def test_too_few_rows_get_one_cell() -> None:
    assert centres_of(made_up(5), 6).tolist() == [[0.0] * DIMENSION]
    assert centres_of(made_up(0), 1).tolist() == [[0.0] * DIMENSION]
