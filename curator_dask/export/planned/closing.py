"""Where shards end: at a limit of bytes or of clips, whichever comes first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from curator_dask.export.ustar import most_members_bytes


class Closing:
    """Says where shards begin while the sizes of samples come in, in any number of parts.

    Args:
        shard_bytes: the largest size of a shard as a file; a larger sample gets a shard of its own.
        shard_clips: the largest number of samples in a shard.
        forced: numbers of samples before which a shard ends in any case.
    """

    def __init__(self, shard_bytes: int, shard_clips: int, forced: Collection[int] = ()) -> None:
        self._most_bytes, self._most_clips = most_members_bytes(shard_bytes), shard_clips
        self._forced = frozenset(forced)
        self._seen = self._filled = self._count = 0

    def starts(self, sizes: Iterable[int]) -> list[int]:
        """The places among these sizes at which another shard begins; never the first sample of all."""
        starts: list[int] = []
        filled, count, seen = self._filled, self._count, self._seen
        for at, size in enumerate(sizes):
            is_full = filled + size > self._most_bytes or count == self._most_clips
            if count and (is_full or seen + at in self._forced):
                starts.append(at)
                filled, count = 0, 0
            filled, count, self._seen = filled + size, count + 1, seen + at + 1
        self._filled, self._count = filled, count
        return starts


def even_parts(num_samples: int, min_shards: int) -> frozenset[int]:
    """Where samples are cut into so many even parts, or into single ones if there are fewer."""
    parts = min(min_shards, num_samples)
    return frozenset(part * num_samples // parts for part in range(1, parts))


def shard_ends(sizes: Sequence[int], shard_bytes: int, shard_clips: int, min_shards: int = 1) -> list[int]:
    """The index after the last sample of each shard. A shard ends at the limit of bytes or of clips, whichever comes first.

    If that makes fewer than ``min_shards``, samples are also cut into that many even parts::

        7 samples, no limit reached   min_shards=1  [7]
                                      min_shards=3  [2, 4, 7]
    """
    if not sizes:
        return []
    starts = Closing(shard_bytes, shard_clips).starts(sizes)
    if len(starts) + 1 < min_shards:
        starts = Closing(shard_bytes, shard_clips, even_parts(len(sizes), min_shards)).starts(sizes)
    return [*starts, len(sizes)]
