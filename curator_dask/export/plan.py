"""Decide which shard each clip is written to. The result does not depend on the order in which the clips are given.

::

    records ── by id ──> splits ──> order (drawn from the seed, or by source) ──> shards closed by bytes or by count
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curator_dask.errors import InputError, ParameterError
from curator_dask.export.samples import ClipRecord, clip_json_bytes, member_key
from curator_dask.export.splits import assign_splits, check_splits
from curator_dask.export.ustar import archive_bytes, member_bytes
from curator_dask.keywords import with_suggestions

ORDERS = ("shuffled", "sorted")
EXTRA_EXTENSIONS = ("npy", "txt", "webp")
"""The extra members that a sample may have besides ``.json`` and ``.mp4``: an embedding, a caption, a preview."""

ExtraSizes = Mapping[str, Callable[[ClipRecord], int]]


@with_suggestions
@dataclass(frozen=True, slots=True)
class PlanParameters:
    """How clips are distributed over shards. Creating one raises ParameterError for bad values."""

    order: str = "shuffled"
    """"shuffled" by ``seed``, so that clips of one source do not fill a shard, or "sorted" by source and start."""
    seed: int = 0
    splits: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """The share of each split by its name; the module `splits` says how closely the shares are met."""
    shard_bytes: int = 1_000_000_000
    """The largest size of a shard, with headers and padding; a single larger clip gets a shard of its own."""
    shard_clips: int = 10_000
    """The largest number of clips in a shard."""
    min_shards: int = 1
    """The smallest number of shards per split (use the number of loader workers); a split with fewer clips has fewer."""
    name_digits: int = 6

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ParameterError(f"order {self.order!r} must be one of {', '.join(ORDERS)}")
        if self.seed < 0:
            raise ParameterError(f"seed ({self.seed}) must be >= 0")
        for name in ("shard_bytes", "shard_clips", "min_shards"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} ({getattr(self, name)}) must be > 0")
        if not 1 <= self.name_digits <= 12:
            raise ParameterError(f"name_digits ({self.name_digits}) must be 1 to 12")
        check_splits(self.splits)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard to write: ``{split}/{name}`` with ``samples`` in this order, ``num_bytes`` long as a file."""

    split: str
    name: str
    samples: tuple[ClipRecord, ...]
    num_bytes: int

    @property
    def path(self) -> str:
        """Relative to the root of the export."""
        return f"{self.split}/{self.name}"


def plan_shards(
    records: Iterable[ClipRecord], parameters: PlanParameters | None = None, *, extra_sizes: ExtraSizes | None = None
) -> list[ShardPlan]:
    """The shards of an export: splits in the order they were given, names from 000000 on in each.

    ``extra_sizes`` maps the extension of each further member ("npy", "webp") to its size in bytes.
    Raises InputError if there are no clips, if an id (or key) occurs twice, or if there are too few sources for the splits.
    """
    parameters = parameters or PlanParameters()
    extra_sizes = extra_sizes or {}
    check_extras(extra_sizes)
    clips = sorted(records, key=lambda record: record.id)
    _check_clips(clips)
    plans: list[ShardPlan] = []
    for split, members in assign_splits(clips, parameters.splits, parameters.seed).items():
        plans += _plan_split(split, _sort_clips(members, parameters), parameters, extra_sizes)
    return plans


def check_extras(extras: Iterable[str]) -> None:
    """Raises ParameterError for an extension that a loader could misread."""
    for extension in extras:
        if extension not in EXTRA_EXTENSIONS:
            raise ParameterError(f"extension {extension!r} must be one of {', '.join(EXTRA_EXTENSIONS)}")


def sample_bytes(record: ClipRecord, extra_sizes: ExtraSizes) -> int:
    """The bytes that a clip takes in a tar: all members with their headers and padding."""
    sizes = [len(clip_json_bytes(record)), record.num_bytes, *(size(record) for size in extra_sizes.values())]
    return sum(map(member_bytes, sizes))


def _check_clips(clips: Sequence[ClipRecord]) -> None:
    if not clips:
        raise InputError("there are no clips to export: nothing was kept, or nothing was split and identified before")
    key, count = Counter(member_key(clip.id) for clip in clips).most_common(1)[0]
    if count > 1:
        raise InputError(f"clip {key} comes {count} times among the clips to export; ids must be unique")


def _sort_clips(clips: list[ClipRecord], parameters: PlanParameters) -> list[ClipRecord]:
    if parameters.order == "sorted":
        return sorted(clips, key=lambda clip: (clip.source_video, clip.start_s, clip.id))

    def shuffle_key(clip: ClipRecord) -> bytes:
        # Sorting by a keyed digest shuffles as well as a generator does, and no library version can change it.
        return hashlib.sha256(f"{parameters.seed}:{clip.id}".encode("utf-8", "backslashreplace")).digest()

    return sorted(clips, key=shuffle_key)


def _plan_split(
    split: str, clips: Sequence[ClipRecord], parameters: PlanParameters, extra_sizes: ExtraSizes
) -> Iterator[ShardPlan]:
    sizes = [sample_bytes(clip, extra_sizes) for clip in clips]
    ends = shard_ends(sizes, parameters.shard_bytes, parameters.shard_clips, parameters.min_shards)
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        name = f"{number:0{parameters.name_digits}d}.tar"
        yield ShardPlan(split, name, tuple(clips[start:end]), archive_bytes(sum(sizes[start:end])))


def shard_ends(sizes: Sequence[int], shard_bytes: int, shard_clips: int, min_shards: int = 1) -> list[int]:
    """The index after the last sample of each shard. A shard ends at the limit of bytes or of clips, whichever comes first.

    If that makes fewer than ``min_shards``, samples are also cut into that many even parts::

        7 samples, no limit reached   min_shards=1  [7]
                                      min_shards=3  [2, 4, 7]
    """
    ends = _close(sizes, shard_bytes, shard_clips, frozenset())
    if len(ends) >= min_shards:
        return ends
    parts = min(min_shards, len(sizes))
    return _close(sizes, shard_bytes, shard_clips, frozenset(part * len(sizes) // parts for part in range(1, parts)))


def _close(sizes: Sequence[int], shard_bytes: int, shard_clips: int, forced: frozenset[int]) -> list[int]:
    ends: list[int] = []
    filled, count = 0, 0
    for index, size in enumerate(sizes):
        full = archive_bytes(filled + size) > shard_bytes or count == shard_clips
        if count and (full or index in forced):
            ends.append(index)
            filled, count = 0, 0
        filled, count = filled + size, count + 1
    return [*ends, len(sizes)] if sizes else ends
