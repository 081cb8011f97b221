"""Tables of clusters, where the ids of some of them also lie in one file: it is read in place of very many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.table_rows import ClusterTables

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TablesWithIds:
    """As `tables`. The ids of some clusters come from the file."""

    tables: ClusterTables
    folder: Folder
    path: str
    """The file: ``id``, of these clusters one after the other."""
    spans: Mapping[int, tuple[int, int]]
    """Cluster → its first row in the file, and the first one behind it."""

    @property
    def numbers(self) -> Sequence[int]:
        return self.tables.numbers

    def read(self, places: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        if columns is None or list(columns) != ["id"]:
            return self.tables.read(places, columns)
        return self._ids(places)

    def _ids(self, places: Sequence[int]) -> Iterator[pa.Table]:
        numbers = self.numbers
        found = read_shared(self.folder, [self.path], 0)
        others = self.tables.read([one for one in places if numbers[one] not in self.spans], ["id"])
        for place in places:
            span = self.spans.get(numbers[place])
            yield next(others) if span is None or found is None else found.slice(span[0], span[1] - span[0])

    def of_clusters(self, numbers: Sequence[int]) -> TablesWithIds:
        return replace(self, tables=self.tables.of_clusters(numbers))
