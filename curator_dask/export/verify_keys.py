"""The keys of all shards, compared with each other and with lists of clips: in buckets on the disk, by the keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.export.faults import Fault, FirstFaults, ShardReading
from curator_dask.export.samples import member_key
from curator_dask.files.buckets.buckets import buckets_for
from curator_dask.files.buckets.meeting import gather, read_bucket

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BUCKETS: Final = 4096
"""However many clips a manifest claims to have."""
IDS_AT_ONCE: Final = 65_536
OF_NO_SHARD: Final = 1 << 62
"""The number that stands for a shard in faults that are of none: behind all others."""


def number_of_buckets(num_samples: int) -> int:
    """For the keys of so many samples."""
    return min(buckets_for(num_samples), MOST_BUCKETS)


def key_rows(reading: ShardReading, shard: int) -> pa.Table:
    """The keys of the shard with this number, and those of other clips that it names: ``key``, ``shard``, ``place`` in it,
    ``sample`` (the key of the sample), and ``shown`` ("", or the id of another clip)."""
    import pyarrow as pa

    rows = [(key, place, key, "") for place, key in enumerate(reading.keys)]
    rows += [(other.clip_key, other.place, reading.keys[other.place], other.shown) for other in reading.other_clips]
    key, place, sample, shown = zip(*rows, strict=True) if rows else ((), (), (), ())
    texts = [pa.array(values, pa.string()) for values in (key, sample, shown)]
    numbers = [pa.array(np.full(len(rows), shard, np.int64)), pa.array(place, pa.int64())]
    return pa.table([*texts, *numbers], names=["key", "sample", "shown", "shard", "place"])


class ComparedKeys:
    """Faults that keys show when all shards have been read. Memory holds one bucket; the others are files in `scratch`."""

    def __init__(self, scratch: Path, num_buckets: int) -> None:
        self.removed, self.doubled, self.unlisted = FirstFaults(), FirstFaults(), FirstFaults()
        self._scratch, self._num_buckets = scratch, num_buckets
        self._paths: list[str] = []

    def compare(
        self, rows: Iterable[pa.Table], paths: list[str], removed: Iterable[str], listed: Iterable[str] | None
    ) -> None:
        """Compare the `key_rows` of all shards, which have these paths.

        Args:
            rows: of all shards.
            paths: of the shards, by their numbers; complete when `rows` have been read.
            removed: ids of clips that must not be there.
            listed: ids of the clips that must be there, and no others; None if any may.
        """
        self._paths = paths
        held, gone, wanted = (self._by_key(tables) for tables in (rows, _keys(removed), _keys(listed or ())))
        for number in range(self._num_buckets):
            some = read_bucket(held, number)
            own = some.filter(_is_own(some)) if some is not None else None
            if some is not None and own is not None:
                self._find_removed(some, read_bucket(gone, number))
                self._find_doubled(own)
            if listed is not None:
                self._find_unlisted(own, read_bucket(wanted, number))

    def _by_key(self, tables: Iterable[pa.Table]) -> Any:
        return gather(tables, self._scratch, self._num_buckets, by=lambda table: table["key"])

    def _find_removed(self, held: pa.Table, gone: pa.Table | None) -> None:
        for row in held.filter(_is_in(held, gone)).to_pylist():
            of_another = f"the JSON is of another clip: {row['shown']}, which is on the removal list"
            self._add(self.removed, row, of_another if row["shown"] else "the clip is on the removal list")

    def _find_doubled(self, own: pa.Table) -> None:
        """Each shard but the first that holds a key has a fault."""
        rows = own.group_by(["key", "shard"], use_threads=False).aggregate([("place", "min"), ("sample", "min")])
        rows = rows.rename_columns(["key", "shard", "place", "sample"]).sort_by("shard")
        first: dict[str, int] = {}
        for row in rows.filter(_is_in(rows, _several(rows))).to_pylist():
            if (shard := first.setdefault(row["key"], row["shard"])) != row["shard"]:
                self._add(self.doubled, row, f"the key is also in {self._paths[shard]}")

    def _find_unlisted(self, own: pa.Table | None, wanted: pa.Table | None) -> None:
        import pyarrow.compute as pc

        if own is not None:
            for row in own.filter(pc.invert(_is_in(own, wanted))).to_pylist():
                self._add(self.unlisted, row, "the clip is not on the list")
        if wanted is not None:
            for key in sorted(set(wanted.filter(pc.invert(_is_in(wanted, own)))["key"].to_pylist())):
                fault = Fault("", key, "the clip is on the list, and no shard holds it")
                self.unlisted.add(OF_NO_SHARD, key, fault)
            for key in sorted(_several(wanted).to_pylist()):
                self.unlisted.add(OF_NO_SHARD, key, Fault("", key, "the list names the clip more than once"))

    def _add(self, faults: FirstFaults, row: dict[str, Any], what: str) -> None:
        faults.add(row["shard"], row["place"], Fault(self._paths[row["shard"]], row["sample"], what))


def _keys(ids: Iterable[str]) -> Iterator[pa.Table]:
    import pyarrow as pa

    keys = map(member_key, ids)
    while some := list(itertools.islice(keys, IDS_AT_ONCE)):
        yield pa.table({"key": pa.array(some, pa.string())})


def _is_own(rows: pa.Table) -> Any:
    import pyarrow.compute as pc

    return pc.equal(rows["shown"], "")


def _several(rows: pa.Table) -> Any:
    """The keys that more than one row has."""
    import pyarrow.compute as pc

    counts = rows["key"].value_counts()
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _is_in(rows: pa.Table, others: Any) -> Any:
    """(n,) whether the key of each row is in a table with a column ``key``, or in an array of keys; None: in nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if others is None:
        return pa.array(np.zeros(len(rows), bool))
    known = others["key"].combine_chunks() if isinstance(others, pa.Table) else others
    return pc.is_in(rows["key"], value_set=known)
