"""Plans of exports from records, as the export stage makes them from tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from curator_dask.export.plan import PlanParameters, ShardPlan
from curator_dask.export.planned.columns import EXTRA_BYTES, TOLD, record_table, records_of
from curator_dask.export.planned.cut import PlannedShard, plan_tables, shard_rows
from curator_dask.export.planned.families import ONE_SPLIT, Families, SplitOf
from curator_dask.export.planned.keys import check_ids, check_keys
from curator_dask.export.planned.ordering import BY_SOURCE, PLACE, in_ranges, shuffled
from curator_dask.export.samples import ClipRecord
from curator_dask.files.buckets.buckets import Buckets, bucket_of
from curator_dask.files.buckets.places import places

ExtraSizes = Mapping[str, Callable[[ClipRecord], int]]


def plan_shards(records: Iterable[ClipRecord], parameters: PlanParameters | None = None, **how) -> list[ShardPlan]:
    return [shard for shard, _ in plan_with_inputs(records, parameters, **how)]


def plan_with_inputs(
    records: Iterable[ClipRecord],
    parameters: PlanParameters | None = None,
    *,
    extra_sizes: ExtraSizes | None = None,
    told: Callable[[ClipRecord], str] | None = None,
    num_buckets: int = 1,
) -> list[tuple[ShardPlan, str]]:
    """The shards with their clips, and the digests of their inputs."""
    clips, parameters = list(records), parameters or PlanParameters()
    table = with_columns(record_table(clips), clips, extra_sizes or {}, told)
    with TemporaryDirectory() as scratch:
        rows = in_buckets(table, parameters.seed, num_buckets, Path(scratch))
        for one in rows.tables():
            check_ids(one["id"])
        check_keys(rows.tables)
        split_of = splits_of(rows, parameters)
        tables = in_order(rows, parameters, Path(scratch))
        shards = plan_tables(tables, split_of, parameters)
        cut = {shard.path: own for shard, own in shard_rows(tables(), split_of, shards, list(parameters.splits))}
        assert cut.keys() == {shard.path for shard in shards}
        return [(_plan(shard, cut[shard.path]), shard.inputs) for shard in shards]


def with_columns(table: pa.Table, clips: list[ClipRecord], sizes: ExtraSizes, told: Callable | None) -> pa.Table:
    for extension, size in sizes.items():
        table = table.append_column(EXTRA_BYTES + extension, pa.array([size(clip) for clip in clips], pa.int64()))
    return table if told is None else table.append_column(TOLD, pa.array(list(map(told, clips)), pa.string()))


def in_buckets(table: pa.Table, seed: int, num_buckets: int, folder: Path) -> Buckets:
    own = places(table["id"], seed)
    table = table.append_column(PLACE, pa.array(own))
    rows, step = Buckets(folder, num_buckets, table.schema, block_rows=len(table) // 3 + 1), len(table) // 7 + 1
    numbers = bucket_of(own, num_buckets)
    for start in range(0, len(table), step):
        rows.add(table.slice(start, step), numbers[start : start + step])
    return rows


def splits_of(rows: Buckets, parameters: PlanParameters) -> SplitOf:
    if len(parameters.splits) == 1:
        return ONE_SPLIT
    families = Families()
    for table in rows.tables():
        families.add(table)
    return families.split(parameters.splits, parameters.seed)


def in_order(rows: Buckets, parameters: PlanParameters, folder: Path) -> Callable[[], Iterable[pa.Table]]:
    if parameters.order == "shuffled":
        return lambda: shuffled(rows.tables, parameters.seed)
    return in_ranges(rows.tables, rows.num_buckets, BY_SOURCE, folder)


def _plan(shard: PlannedShard, rows: pa.Table) -> ShardPlan:
    records = tuple(replace(record) for record in records_of(rows))
    assert len(records) == shard.num_samples
    return ShardPlan(shard.split, shard.name, records, shard.num_bytes)
