"""Still pictures: the same one, edited ones, and ones with a small difference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from curator_dask.dedup.align.line import lay_out
from curator_dask.dedup.align.stills import least_likeness
from tests.dedup.align.lines import overlaps_of, scene, track


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

    assert least_likeness(slide()[None], edited[None])[0, 0] > 0.92


def test_another_word_is_another_picture() -> None:
    pictures = np.stack([slide(word=number) for number in range(4)])

    likeness = least_likeness(pictures, pictures)

    assert np.diag(likeness) == pytest.approx(1)
    assert (likeness[~np.eye(4, dtype=bool)] < 0.92).all()


def test_a_plain_picture_is_like_no_other() -> None:
    plain = np.full((1, 1024), 90, np.uint8)

    assert (least_likeness(plain, np.concatenate([plain, slide()[None]])) == -1).all()


def test_a_slide_that_stands_in_two_videos_is_found_whatever_its_length() -> None:
    rows = np.repeat(scene(1, 1), 20, axis=0)
    long = lay_out([track(rows, picture=slide())])
    short = lay_out([track(rows[:9], picture=slide())])
    other = lay_out([track(rows, picture=slide(word=3))])

    assert [found[:2] for found in overlaps_of([long, short, other])] == [(0, 1)]
