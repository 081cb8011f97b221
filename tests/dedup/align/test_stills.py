"""Still pictures: the same one, edited ones, and ones with a small difference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from curator_dask.dedup.align.line import lay_out
from curator_dask.dedup.align.stills import pairs_alike
from tests.dedup.align.lines import overlaps_of, scene, track


def pairs(x: NDArray[np.uint8], y: NDArray[np.uint8], least: float = 0.92) -> list[tuple[int, int]]:
    found = pairs_alike(x, y, least)
    for i, j, likeness in zip(found.i, found.j, found.likeness, strict=True):
        assert likeness == pytest.approx(least_likeness(x[i], y[j]), abs=1e-5)
    return list(zip(found.i.tolist(), found.j.tolist(), strict=True))


def least_likeness(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    """The same measure as the product's, written down block by block."""
    return 1 - min(largest_rest(x, y), largest_rest(y, x)) / 10


def largest_rest(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    a, b = (picture.reshape(32, 32).astype(float) for picture in (x, y))
    beside = np.pad(a, 1, mode="edge")
    detail = beside[:-2, 1:-1] + beside[2:, 1:-1] + beside[1:-1, :-2] + beside[1:-1, 2:] - 4 * a
    terms = np.stack(
        [np.ones(1024), *((a.ravel() / 127.5 - 1) ** power for power in (1, 2, 3)), detail.ravel() / 255], axis=1
    )
    fitted = (terms @ np.linalg.lstsq(terms, b.ravel(), rcond=None)[0]).reshape(32, 32)
    contrast_a, contrast_b, contrast_fit, rest = (contrasts(picture) for picture in (a, b, fitted, b - fitted))
    louder = max(1.0, float(np.linalg.norm(contrast_a) / np.linalg.norm(contrast_b)))
    contrast = louder * np.maximum(contrast_b, contrast_fit)
    noise = min(2.0, max(0.5, 0.04 * float(contrast.max())))
    return float((louder * rest / (0.2 * contrast + noise)).max())


def contrasts(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    corners = [(row, column) for row in range(0, 29, 2) for column in range(0, 29, 2)]
    return np.array([picture[row : row + 4, column : column + 4] for row, column in corners]).std(axis=(1, 2))


def softer(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The picture with a little less detail."""
    wide = np.pad(picture.reshape(32, 32).astype(float), 1, mode="edge")
    beside = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    soft: NDArray[np.float64] = (0.8 * wide[1:-1, 1:-1] + 0.05 * beside).ravel()
    return soft


def slide(*, word: int = 0) -> NDArray[np.uint8]:
    """A slide of four lines of words; `word` changes one of them."""
    picture = np.full((32, 32), 240, np.uint8)
    random = np.random.default_rng(7)
    for line in range(4):
        picture[6 * line + 4, 4:28] = random.integers(60, 240, 24)
    picture[10, 12:16] = np.random.default_rng(100 + word).integers(60, 240, 4)
    return picture.ravel()


@pytest.mark.parametrize(
    "copy",
    [
        lambda picture: picture,
        lambda picture: np.clip(picture.astype(float) + 10, 0, 255),
        lambda picture: picture.astype(float) * 0.6,
        lambda picture: picture.astype(float) + np.random.default_rng(0).normal(0, 0.7, picture.shape),
        lambda picture: np.clip(1.4 * (picture.astype(float) - 128) + 128, 0, 255),
        lambda picture: 255 * (picture / 255) ** 1.3,
        lambda picture: softer(picture),
    ],
)
def test_an_edited_copy_is_the_same_picture(copy: object) -> None:
    edited = np.rint(copy(slide())).astype(np.uint8)  # type: ignore[operator]

    assert pairs(slide()[None], edited[None]) == [(0, 0)]


def test_another_word_is_another_picture() -> None:
    pictures = np.stack([slide(word=number) for number in range(4)])

    assert pairs(pictures, pictures) == [(number, number) for number in range(4)]


def test_a_plain_picture_is_like_no_other() -> None:
    plain = np.full((1, 1024), 90, np.uint8)

    assert pairs(plain, np.concatenate([plain, slide()[None]])) == []


def test_a_slide_that_stands_in_two_videos_is_found_whatever_its_length() -> None:
    rows = np.repeat(scene(1, 1), 20, axis=0)
    long = lay_out([track(rows, picture=slide())])
    short = lay_out([track(rows[:9], picture=slide())])
    other = lay_out([track(rows, picture=slide(word=3))])

    assert [found[:2] for found in overlaps_of([long, short, other])] == [(0, 1)]


def test_ruling_pairs_out_by_one_product_changes_nothing() -> None:
    random = np.random.default_rng(1)
    bases = random.integers(60, 200, (4, 1024))
    x = np.concatenate([bases + random.normal(0, noise, bases.shape) for noise in (0, 3, 12, 60)])
    pictures = np.clip(np.rint(x), 0, 255).astype(np.uint8)

    expected = [(i, j) for i in range(16) for j in range(16) if least_likeness(pictures[i], pictures[j]) >= 0.8]

    assert 16 < len(expected) < 64
    assert pairs(pictures, pictures, 0.8) == expected
