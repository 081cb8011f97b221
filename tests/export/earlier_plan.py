"""How version 0.1 planned an export: with an object for each clip. Exports that it began must go on without a shard redone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from curator_dask.export.plan import PlanParameters, ShardPlan
from curator_dask.export.samples import ClipRecord, clip_json_bytes, record_inputs
from curator_dask.export.ustar import archive_bytes, member_bytes
from curator_dask.runtime.records import digest

Family = Sequence[ClipRecord]
ExtraSizes = Mapping[str, Callable[[ClipRecord], int]]


def plan_shards(records, parameters: PlanParameters, extra_sizes: ExtraSizes | None = None) -> list[ShardPlan]:
    clips = sorted(records, key=lambda record: record.id)
    plans: list[ShardPlan] = []
    for split, members in assign_splits(clips, parameters.splits, parameters.seed).items():
        plans += _plan_split(split, _sort_clips(members, parameters), parameters, extra_sizes or {})
    return plans


def inputs_of(plan: ShardPlan, told: Sequence[str] | None = None) -> str:
    """The digest that stands in the marker of the shard."""
    inputs = [record_inputs(sample) for sample in plan.samples]
    return digest(inputs) if told is None else digest(inputs, told)


def sample_bytes(record: ClipRecord, extra_sizes: ExtraSizes) -> int:
    """The bytes that a clip takes in a tar: all members with their headers and padding."""
    sizes = [len(clip_json_bytes(record)), record.num_bytes, *(size(record) for size in extra_sizes.values())]
    return sum(map(member_bytes, sizes))


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


def assign_splits(records: Sequence[ClipRecord], shares: Mapping[str, float], seed: int) -> dict[str, list[ClipRecord]]:
    if len(shares) == 1:
        return {name: list(records) for name in shares}
    families = _families(records)
    chosen = _share_out(_in_drawn_order(families, shares, seed), len(records), shares)
    _fill_empty(chosen)
    split_of = {record.id: name for name, kin in chosen.items() for family in kin for record in family}
    result: dict[str, list[ClipRecord]] = {name: [] for name in shares}
    for record in records:
        result[split_of[record.id]].append(record)
    return result


def _families(records: Sequence[ClipRecord]) -> list[Family]:
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = node = parent[above]
        return node

    for record in records:
        source = root(("source", record.source_video))
        if record.group:
            parent[root(("group", record.group))] = source
    families: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        families[root(("source", record.source_video))].append(record)
    return list(families.values())


def _in_drawn_order(families: list[Family], shares: Mapping[str, float], seed: int) -> list[Family]:
    smallest_split = min(shares.values()) * sum(map(len, families))

    def place(family: Family) -> tuple[int, bytes]:
        # A large family must choose first: coming last it would find no split that still has room for it.
        size = len(family) if len(family) > smallest_split else 0
        name = f"{seed}:{min(record.id for record in family)}"
        return -size, hashlib.sha256(name.encode("utf-8", "backslashreplace")).digest()

    return sorted(families, key=place)


def _share_out(families: list[Family], total: int, shares: Mapping[str, float]) -> dict[str, list[Family]]:
    chosen: dict[str, list[Family]] = {name: [] for name in shares}
    lacking = {name: share * total for name, share in shares.items()}
    for family in families:
        name = max(lacking, key=lambda name: lacking[name])
        chosen[name].append(family)
        lacking[name] -= len(family)
    return chosen


def _fill_empty(chosen: dict[str, list[Family]]) -> None:
    for name in [name for name, families in chosen.items() if not families]:
        donors = [other for other, families in chosen.items() if len(families) > 1]
        donor = min(donors, key=lambda other: min(map(len, chosen[other])))
        smallest = min(chosen[donor], key=len)
        chosen[donor].remove(smallest)
        chosen[name].append(smallest)
