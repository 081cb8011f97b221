"""What a user chooses about shards, and what one shard is. The module `planned` decides which clip goes where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from curator_dask.errors import ParameterError
from curator_dask.export.samples import ClipRecord
from curator_dask.export.splits import check_splits
from curator_dask.keywords import with_suggestions

ORDERS = ("shuffled", "sorted")
EXTRA_EXTENSIONS = ("npy", "txt", "webp")
"""The extra members that a sample may have besides ``.json`` and ``.mp4``: an embedding, a caption, a preview."""


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


def check_extras(extras: Iterable[str]) -> None:
    """Raises ParameterError for an extension that a loader could misread."""
    for extension in extras:
        if extension not in EXTRA_EXTENSIONS:
            raise ParameterError(f"extension {extension!r} must be one of {', '.join(EXTRA_EXTENSIONS)}")
