"""Choose the clips to edit: some of each of some videos, by hashes of their names, while all clips pass by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from curator_dask.stages.embed.spec import ClipToEmbed

CLIPS_PER_VIDEO = 4


@dataclass
class ChosenClips:
    """The first `most` clips in the order of choice, of those that have come; it holds no more than they can be among.

    The order: four clips of each video, then four more of each, and so on; videos and clips in the order of their hashes.
    """

    most: int
    num_seen: int = 0
    _of_video: dict[str, dict[ClipToEmbed, str]] = field(default_factory=dict)

    def add(self, clips: Iterable[ClipToEmbed], inputs: str) -> None:
        """Look at clips, with the digest of what they are made from."""
        for clip in clips:
            self.num_seen += 1
            group = self._of_video.setdefault(clip.source or clip.path, {})
            group[clip] = inputs
            if len(group) > 2 * self.most:
                self._of_video[clip.source or clip.path] = {one: group[one] for one in _by_hash(group)[: self.most]}
            if len(self._of_video) > 2 * self.most:
                self._drop_videos()

    def _drop_videos(self) -> None:
        """Each video gives a clip before the first one gives its fifth, so `most` videos are enough."""
        first = sorted(self._of_video, key=_hash)[: self.most]
        self._of_video = {video: self._of_video[video] for video in first}

    def chosen(self) -> dict[ClipToEmbed, str]:
        """The clips in the order of choice, each with its digest."""
        held = {clip: inputs for group in self._of_video.values() for clip, inputs in group.items()}
        rounds = [
            (number // CLIPS_PER_VIDEO, _hash(video), number, clip)
            for video, group in self._of_video.items()
            for number, clip in enumerate(_by_hash(group))
        ]
        return {clip: held[clip] for *_, clip in sorted(rounds, key=lambda one: one[:3])[: self.most]}


def _by_hash(clips: Iterable[ClipToEmbed]) -> list[ClipToEmbed]:
    return sorted(clips, key=lambda clip: _hash(clip.id))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
