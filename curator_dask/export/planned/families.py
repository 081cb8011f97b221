"""Assign clips to splits. A source video is never in two splits, and neither is a duplicate group.

Clips that share a source or a group, directly or through others, form one family; a family is never divided::

    clip  source  group        families
    a     film1   g1           {a, b, c}: a-b by film1, b-c by g2
    b     film1   g2           {d}
    c     film2   g2
    d     film3   ""

So the shares are met only as closely as whole families allow. Sources and groups stand here as 16 bytes of their SHA-256
(no two are ever the same), and there is one row for each: memory grows with the number of videos, not of clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.groups import connected_groups
from curator_dask.errors import InputError
from curator_dask.files.buckets.places import digests, keys_of
from curator_dask.files.names import counted

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST_ROWS: Final = 131_072
"""Rows that wait before rows of the same source are made one."""


@dataclass(frozen=True)
class SplitOf:
    """The split of each source."""

    sources: NDArray[np.bytes_]
    """(S,) the keys of the sources, sorted; none if there is only one split."""
    numbers: NDArray[np.int8]
    """(S,) the number of the split of each, in the order in which splits were asked for."""

    def of(self, sources: pa.ChunkedArray) -> NDArray[np.int8]:
        """(n,) the number of the split of each clip, from the names of their sources."""
        if not len(self.sources):
            return np.zeros(len(sources), np.int8)
        return self.numbers[np.searchsorted(self.sources, keys_of(sources))]


ONE_SPLIT: Final = SplitOf(np.empty(0, "S16"), np.empty(0, np.int8))


class Families:
    """Collects which clips belong together, then gives each family to a split."""

    def __init__(self) -> None:
        self._known = _schema().empty_table()
        self._waiting: list[pa.Table] = []
        self._num_waiting = self.num_clips = 0

    def add(self, clips: pa.Table) -> None:
        """Add clips, a table with ``id``, ``source_video`` and ``group``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = {name: keys_of(clips[name]) for name in ("source_video", "group")}
        no_group = pc.equal(clips["group"], "").combine_chunks()
        groups = pc.if_else(no_group, pa.scalar(None, pa.binary(16)), pa.array(keys["group"], pa.binary(16)))
        ones = pa.array(np.ones(len(clips), np.int64))
        columns = [pa.array(keys["source_video"], pa.binary(16)), groups, ones, clips["id"].cast(pa.large_string())]
        self._waiting.append(pa.table(columns, schema=_schema()))
        self.num_clips, self._num_waiting = self.num_clips + len(clips), self._num_waiting + len(clips)
        if self._num_waiting > max(FEWEST_ROWS, len(self._known)):
            self._merge()

    def _merge(self) -> None:
        """One row per source and group, with the number of its clips and the lowest of their ids."""
        import pyarrow as pa

        rows = pa.concat_tables([self._known, *self._waiting])
        merged = rows.group_by(["source", "group"], use_threads=False).aggregate([("clips", "sum"), ("id", "min")])
        self._known = merged.rename_columns(["source", "group", "clips", "id"]).cast(_schema())
        self._waiting, self._num_waiting = [], 0

    def split(self, shares: Mapping[str, float], seed: int) -> SplitOf:
        """The split of each source.

        Each family is assigned to the split that lacks most clips: first the families that exceed the smallest share
        (largest first), then the others in an order drawn from ``seed``. An empty split takes the smallest family of
        another. Raises InputError if there are fewer families than splits.
        """
        self._merge()
        sources, of_row = np.unique(_binary(self._known["source"]), return_inverse=True)
        family = self._family_of_row(of_row, len(sources))
        sizes = np.bincount(family, weights=self._known["clips"].to_numpy()).astype(np.int64)
        if len(sizes) < len(shares):
            raise InputError(
                f"{counted(self.num_clips, 'clips')} in only {counted(len(sizes), 'groups')} of shared sources and duplicates, "
                f"too few for the {len(shares)} splits {', '.join(shares)}; ask for fewer splits or export more sources"
            )
        order = _drawn_order(sizes, self._lowest_ids(family), shares, seed)
        split_of_family = _fill_empty(_share_out(sizes, order, shares), sizes, order, len(shares))
        numbers = np.zeros(len(sources), np.int8)
        numbers[of_row] = split_of_family[family]
        return SplitOf(sources, numbers)

    def _family_of_row(self, of_row: NDArray[np.int64], num_sources: int) -> NDArray[np.int64]:
        """(rows,) the number of the family of each row: sources that share a group are one."""
        has_group = self._known["group"].is_valid().to_numpy()
        if not has_group.any():
            return of_row
        _, group = np.unique(_binary(self._known["group"].drop_null()), return_inverse=True)
        labels = connected_groups(num_sources + int(group.max()) + 1, [(of_row[has_group], num_sources + group)])
        return np.unique(labels[of_row], return_inverse=True)[1]

    def _lowest_ids(self, family: NDArray[np.int64]) -> Any:
        """The lowest id of each family, in the order of families."""
        import pyarrow as pa

        ids = pa.table({"family": pa.array(family), "id": self._known["id"]})
        return ids.group_by("family", use_threads=False).aggregate([("id", "min")]).sort_by("family")["id_min"]


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [("source", pa.binary(16)), ("group", pa.binary(16)), ("clips", pa.int64()), ("id", pa.large_string())]
    )


def _binary(column: Any) -> NDArray[np.bytes_]:
    """Keys as NumPy can sort them. A key may end in null bytes; to NumPy, bytes with and without them are the same ones."""
    return np.frombuffer(b"".join(column.to_pylist()), "S16")


def _drawn_order(
    sizes: NDArray[np.int64], lowest_ids: Any, shares: Mapping[str, float], seed: int
) -> NDArray[np.int64]:
    """(F,) the order in which families choose."""
    # A large family must choose first: coming last it would find no split that still has room for it.
    smallest_split = min(shares.values()) * int(sizes.sum())
    first = -np.where(sizes > smallest_split, sizes, 0)
    return np.lexsort((*digests(lowest_ids, seed).T[::-1], first))


def _share_out(sizes: NDArray[np.int64], order: NDArray[np.int64], shares: Mapping[str, float]) -> NDArray[np.int8]:
    """(F,) the split of each family."""
    total = int(sizes.sum())
    lacking = [share * total for share in shares.values()]
    chosen = np.zeros(len(sizes), np.int8)
    for family, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        number = lacking.index(max(lacking))
        chosen[family] = number
        lacking[number] -= size
    return chosen


def _fill_empty(
    chosen: NDArray[np.int8], sizes: NDArray[np.int64], order: NDArray[np.int64], num_splits: int
) -> NDArray[np.int8]:
    """The splits of the families once each empty split has taken the smallest family of another that has several."""
    for empty in np.flatnonzero(np.bincount(chosen, minlength=num_splits) == 0).tolist():
        several = np.flatnonzero(np.bincount(chosen, minlength=num_splits) > 1)
        candidates = order[np.isin(chosen[order], several)]
        smallest = candidates[sizes[candidates] == sizes[candidates].min()]
        donor = chosen[smallest].min()  # of equal ones that of the first split, and in it the one that chose first
        chosen[smallest[chosen[smallest] == donor][0]] = empty
    return chosen
