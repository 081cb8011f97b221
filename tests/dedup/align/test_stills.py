"""Still pictures: the same one, edited ones, and ones with a small difference."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from curator_dask.dedup.align.line import lay_out
from curator_dask.dedup.align.stills import pairs_alike
from tests.dedup.align.lines import overlaps_of, scene, track


def pairs(x: NDArray[np.uint8], y: NDArray[np.uint8], least: float = 0.92) -> list[tuple[int, int]]:
    found = pairs_alike(x, y, least)
    for i, j, likeness in zip(found.i, found.j, found.likeness, strict=True):
        assert likeness == pytest.approx(least_likeness(x[i], y[j]))
    return list(zip(found.i.tolist(), found.j.tolist(), strict=True))


def least_likeness(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    """The same measure as the product's, block by block."""
    blocks = [blocks_of(picture.tobytes()) for picture in (x, y)]
    contrasts = np.array([side.std(axis=1) for side in blocks])
    shows = (contrasts >= 0.3 * contrasts.max(axis=1, keepdims=True)).any(axis=0)
    p, q = ((side - side.mean(axis=1, keepdims=True))[shows] for side in blocks)
    with np.errstate(invalid="ignore"):  # a block may be flat in one of the two
        return float(((p * q).sum(axis=1) / np.sqrt((p * p).sum(axis=1) * (q * q).sum(axis=1))).min())


@cache
def blocks_of(picture: bytes) -> NDArray[np.float64]:
    """(225, 16): every block of 4x4, two steps apart."""
    grey = np.frombuffer(picture, np.uint8).reshape(32, 32).astype(float)
    corners = [(row, column) for row in range(0, 29, 2) for column in range(0, 29, 2)]
    return np.stack([grey[row : row + 4, column : column + 4].ravel() for row, column in corners])


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
        lambda picture: picture.astype(float) + np.random.default_rng(0).normal(0, 2, picture.shape),
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
    bases = random.integers(60, 200, (6, 1024))
    x = np.concatenate([bases + random.normal(0, noise, bases.shape) for noise in (0, 4, 12, 20)])
    pictures = np.clip(np.rint(x), 0, 255).astype(np.uint8)

    expected = [(i, j) for i in range(24) for j in range(24) if least_likeness(pictures[i], pictures[j]) >= 0.8]

    assert 24 < len(expected) < 150
    assert pairs(pictures, pictures, 0.8) == expected
