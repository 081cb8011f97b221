"""Clips are chosen while they pass by: the choice is that of all clips at once, and few are held."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from curator_dask.stages.calibrate.choose_clips import CLIPS_PER_VIDEO, ChosenClips
from curator_dask.stages.embed.spec import ClipToEmbed


def clip(video: str, number: int) -> ClipToEmbed:
    return ClipToEmbed(f"{video}-{number}", "x.mp4", True, video, number, number, number + 1)


def hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def choose(clips: list[ClipToEmbed], most: int) -> ChosenClips:
    found = ChosenClips(most)
    for one in clips:
        found.add([one], f"inputs of {one.id}")
    return found


def test_some_clips_of_one_video_are_chosen_together():
    clips = [clip(video, n) for video in "abc" for n in range(9)]
    sources = [one.source for one in choose(clips, 99).chosen()]
    first, rest = sources[: 3 * CLIPS_PER_VIDEO], sources[3 * CLIPS_PER_VIDEO :]
    assert [len(set(first[at : at + CLIPS_PER_VIDEO])) for at in range(0, len(first), CLIPS_PER_VIDEO)] == [1, 1, 1]
    assert sorted(rest) == sorted("abc" * (9 - CLIPS_PER_VIDEO))


@pytest.mark.parametrize("most", [2, 5, 64])
@pytest.mark.parametrize("num_videos", [1, 3, 40, 300])
def test_the_choice_is_that_of_all_clips_at_once_in_any_order(most, num_videos):
    rng = np.random.default_rng(num_videos)
    clips = [clip(f"v{video}", n) for video in range(num_videos) for n in range(rng.integers(1, 600 // num_videos + 9))]
    rounds = []
    for video in {one.source for one in clips}:
        group = sorted((one for one in clips if one.source == video), key=lambda one: hashed(one.id))
        rounds += [(n // CLIPS_PER_VIDEO, hashed(video), n, one) for n, one in enumerate(group)]
    expected = [one for *_, one in sorted(rounds, key=lambda one: one[:3])][:most]
    for order in (np.arange(len(clips)), rng.permutation(len(clips))):
        found = choose([clips[at] for at in order], most)
        assert list(found.chosen().items()) == [(one, f"inputs of {one.id}") for one in expected]
        assert found.num_seen == len(clips)


def test_few_clips_are_held():
    found = choose([clip(f"v{number % 500}", number) for number in range(5_000)], 3)
    assert sum(map(len, found._of_video.values())) <= 4 * 3 * 3
    found = choose([clip("v", number) for number in range(5_000)], 3)
    assert sum(map(len, found._of_video.values())) <= 2 * 3
