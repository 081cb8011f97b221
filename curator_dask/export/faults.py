"""What is found in the shards of an export: their keys, and faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MAX_FAULTS: Final = 100
"""Reading a shard stops after so many faults: a hostile one could cause millions."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of an export."""

    shard: str
    """The shard's path in the export, or a split's name."""
    key: str
    """The sample's key; "" if the fault concerns the whole shard."""
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.shard, self.key, self.what) if part)


class OtherClip(NamedTuple):
    """A clip that the JSON of a sample names, where it is not the clip of its key."""

    place: int
    """The number of the sample in its shard."""
    clip_key: str
    shown: str
    """Its id for messages."""


@dataclass(slots=True)
class ShardReading:
    """The keys and faults found in one shard."""

    shard: str
    keys: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    other_clips: list[OtherClip] = field(default_factory=list)

    def fault(self, key: str, what: str) -> None:
        self.faults.append(Fault(self.shard, key, what))


@dataclass
class FirstFaults:
    """The first `MAX_FAULTS` faults of each shard, by their places in it, and how many more there are."""

    _first: dict[int, list[tuple[Any, Fault]]] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)

    def add(self, shard: int, place: Any, fault: Fault) -> None:
        """Add a fault of the shard with this number."""
        some = self._first.setdefault(shard, [])
        self._numbers[shard] = self._numbers.get(shard, 0) + 1
        some.append((place, fault))
        if len(some) >= 2 * MAX_FAULTS:
            some[:] = _in_order(some)

    def of(self, shard: int) -> Iterator[Fault]:
        """Those of one shard."""
        some = _in_order(self._first.get(shard, []))
        yield from (fault for _, fault in some)
        if more := self._numbers.get(shard, 0) - len(some):
            yield Fault(some[0][1].shard, "", f"{more} more faults like the last one")

    def of_all(self) -> Iterator[Fault]:
        """Those of all shards, one after the other."""
        for shard in sorted(self._first):
            yield from self.of(shard)


def _in_order(some: list[tuple[Any, Fault]]) -> list[tuple[Any, Fault]]:
    return sorted(some, key=lambda one: one[0])[:MAX_FAULTS]
