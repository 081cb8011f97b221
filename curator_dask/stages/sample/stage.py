"""Kept clips → a sample of exactly N of them that is balanced over the clusters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final

from curator_dask.data.clusters import cluster_folders
from curator_dask.data.decisions.read_decisions import decision_batches, decision_parts, has_decisions, kept_by_cluster
from curator_dask.data.ids import id_column, id_list, id_text
from curator_dask.data.tables import parquet_bytes, read_parquet
from curator_dask.dedup.ranking.quotas import quotas
from curator_dask.errors import InputError, ParameterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_bytes
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths

NO_CLUSTER: Final = -1
"""The number of the group of kept clips that no cluster holds."""


@dataclass(frozen=True)
class ClusterShare:
    """How many kept clips a cluster has, and how many of them are in the sample."""

    cluster: int
    kept: int
    sampled: int


@dataclass(frozen=True, repr=False)
class SampleResult(StageResult):
    """The result of the sample stage, with the numbers of each cluster."""

    clusters: tuple[ClusterShare, ...] = field(default=(), repr=False)

    def histogram(self) -> list[dict[str, int]]:
        """The clusters by their sizes, in doublings: from, to, clusters, and their clips before and after."""
        bins: dict[int, list[ClusterShare]] = {}
        for one in self.clusters:
            bins.setdefault(one.kept.bit_length(), []).append(one)
        return [
            {
                "clips_from": 1 << (bits - 1), "clips_to": (1 << bits) - 1, "clusters": len(some),
                "kept": sum(one.kept for one in some), "sampled": sum(one.sampled for one in some),
            }
            for bits, some in sorted(bins.items())
        ]  # fmt: skip


@with_suggestions
@dataclass(frozen=True)
class SampleStage(Stage):
    """Choose exactly `size` of the kept clips, balanced over their clusters: ``sample/keep.txt`` and ``sample/sample.parquet``.

    Small clusters stay whole and large ones give up clips, as in a training set where no subject should rule. Nothing is
    removed: ``export --keep-list`` follows the list. A larger sample of the same seed holds nearly all of a smaller one.

    Args:
        input_path: the output folder of ``run``.
        size: how many clips to choose, exactly.
        temperature: each cluster gets clips in proportion to its size to this power: 0 as many of each, as far as it has
            them; 1 the proportions of the whole.
        max_per_cluster: the most clips of one cluster; None: no limit.
        seed: decides which clips of a cluster are chosen.
        duplicates_path: the output of the identify stage; None: ``duplicates`` below `input_path`.
        kmeans_path: the output of the k-means stage, whose clusters are taken. None: the clusters that the decisions name;
            an earlier version named none, and then ``kmeans`` below `input_path` is read.
        output_path: folder or URL for the sample; None: ``sample`` below `input_path`.
        id_field: column of the ids in the output of k-means.
        storage_options: fsspec options for all of these.
    """

    input_path: str
    size: int
    temperature: float = 0.0
    max_per_cluster: int | None = None
    seed: int = 0
    duplicates_path: str | None = None
    kmeans_path: str | None = None
    output_path: str | None = None
    id_field: str = "id"
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = layout.SAMPLE
    replaceable: ClassVar[frozenset[str]] = frozenset(("size", "temperature", "max_per_cluster", "seed"))

    def __post_init__(self) -> None:
        require_paths(self, "input_path")
        if self.size < 1:
            raise ParameterError(f"size ({self.size}) must be at least 1")
        if not 0 <= self.temperature <= 1:
            raise ParameterError(
                f"temperature ({self.temperature}) must be between 0 (all clusters alike) and 1 (by size)"
            )
        if self.max_per_cluster is not None and self.max_per_cluster < 1:
            raise ParameterError(f"max_per_cluster ({self.max_per_cluster}) must be at least 1")

    @property
    def output(self) -> Folder:
        return self._folder(self.output_path, layout.SAMPLE)

    def _folder(self, path: str | None, usual: str) -> Folder:
        if path is not None:
            return Folder(path, self.storage_options)
        return Folder(self.input_path, self.storage_options).below(usual)

    def identity(self) -> dict[str, Any]:
        return {
            "duplicates_path": self._folder(self.duplicates_path, layout.DUPLICATES).root,
            "kmeans_path": self._folder(self.kmeans_path, layout.KMEANS).root,
            **{name: getattr(self, name) for name in sorted(self.replaceable)},
        }

    def execute(self, context: RunContext) -> SampleResult:
        sizes = {cluster: len(ids) for cluster, ids in self._groups()}
        numbers = self._numbers(sizes)
        shares = tuple(ClusterShare(cluster, size, numbers[cluster]) for cluster, size in sizes.items())
        kept = sum(sizes.values())
        counts = {
            "kept": kept,
            "clips": self.size,
            "not_sampled": kept - self.size,
            "clusters": len(sizes),
            "clusters_sampled": sum(share.sampled > 0 for share in shares),
        }
        if context.dry_run:
            self.check(context)
        else:
            self._write(context, self._choose(numbers), shares, counts)
        return SampleResult(self.name, self.output, counts, tables=(layout.SAMPLE_TABLE,), clusters=shares)

    def _groups(self) -> Iterator[tuple[int, list[str]]]:
        """The kept clips of each cluster, sorted, with its number; one cluster is in memory at a time."""
        folder = self._folder(self.duplicates_path, layout.DUPLICATES)
        if not has_decisions(folder):
            raise InputError(
                f"{folder.url} holds no {layout.KEEP_LIST}: give the output of a run, or run identify into it"
            )
        if self.kmeans_path is not None or not decision_parts(folder):
            return iter(self._groups_of_list(folder).items())
        return ((cluster, sorted(ids)) for cluster, ids in kept_by_cluster(folder))

    def _groups_of_list(self, folder: Folder) -> dict[int, list[str]]:
        """The same with the clusters of an output of k-means, all at once."""
        import pyarrow.compute as pc

        batches = decision_batches(folder, ["id", "removed"])
        left = {one for batch in batches for one in batch.filter(pc.invert(batch["removed"]))["id"].to_pylist()}
        groups: dict[int, list[str]] = {}
        kmeans = self._folder(self.kmeans_path, layout.KMEANS)
        for cluster, entries in cluster_folders(kmeans).items():
            tables = (read_parquet(kmeans, entry.path, [self.id_field]) for entry in entries)
            ids = {id_text(one) for table in tables for one in id_list(id_column(table, self.id_field))}
            if here := sorted(ids & left):
                groups[cluster] = here
                left.difference_update(here)
        return {NO_CLUSTER: sorted(left), **groups} if left else groups

    def _numbers(self, kept: Mapping[int, int]) -> dict[int, int]:
        """How many clips of each cluster to choose. Raises InputError if there are too few."""
        sizes = list(kept.values())
        within = sum(min(size, self.max_per_cluster or size) for size in sizes)
        if within < self.size:
            capped = f", {within:,} with at most {self.max_per_cluster} of a cluster" if within < sum(sizes) else ""
            raise InputError(
                f"{self.size:,} clips are wanted, and {sum(sizes):,} are kept{capped}: give a smaller size"
                f"{' or a larger max_per_cluster' if capped else ''}"
            )
        order = [int.from_bytes(self._draw(f"cluster {cluster}")) for cluster in kept]
        numbers = quotas(sizes, self.size, temperature=self.temperature, most=self.max_per_cluster, order=order)
        return dict(zip(kept, numbers, strict=True))

    def _choose(self, numbers: Mapping[int, int]) -> dict[int, list[str]]:
        """The chosen clips of each cluster."""
        return {cluster: sorted(ids, key=self._draw)[: numbers[cluster]] for cluster, ids in self._groups()}

    def _draw(self, name: str) -> bytes:
        # Sorting by a keyed digest draws as well as a generator does, and no library version can change it.
        return hashlib.sha256(f"{self.seed}:{name}".encode("utf-8", "backslashreplace")).digest()

    def _write(
        self,
        context: RunContext,
        chosen: Mapping[int, list[str]],
        shares: Iterable[ClusterShare],
        counts: dict[str, int],
    ) -> None:
        import pyarrow as pa

        state = StageState(self.output, self.name)
        if replaced := state.claim(self.identity(), overwrite=context.overwrite, replaceable=self.replaceable):
            context.reporter.note(f"sample: {replaced}: the sample is drawn anew")
        rows = sorted((clip_id, cluster) for cluster, ids in chosen.items() for clip_id in ids)
        ids, clusters = (list(column) for column in zip(*rows, strict=True))
        table = pa.table({"id": pa.array(ids, pa.string()), "cluster": pa.array(clusters, pa.int64())})
        state.publish(layout.SAMPLE_TABLE, parquet_bytes(table))
        state.publish(layout.SAMPLE_CLUSTERS, dump_json({"clusters": [asdict(share) for share in shares]}))
        state.publish(layout.KEEP_LIST, id_list_bytes(ids))  # last: what export follows never names less than the table
        state.summarise(counts, failures=())


def sample_clips(input_path: str, size: int, **parameters: Any) -> SampleResult:
    """Choose exactly `size` kept clips of an output, balanced over the clusters; the parameters are those of `SampleStage`."""
    result = SampleStage(input_path, size, **parameters).run()
    if not isinstance(result, SampleResult):
        raise TypeError(result)
    return result
