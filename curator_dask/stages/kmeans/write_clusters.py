"""The second half of k-means, on the client: hand out chunks to assign, then buckets to write as clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from curator_dask.errors import FolderInUseError
from curator_dask.files.names import counted
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.runtime.waiting import gather
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.spec import AssignTask, BucketTask, WriteClustersSpec
from curator_dask.stages.kmeans.worker import assign_chunk, bucket_file, bucket_folder, bucket_groups, write_bucket

BUCKET_BYTES = 128 << 20
"""A bucket has about this many bytes of vectors; a worker holds twice that while it writes one."""
BUCKETS = 16
"""There are at least this many buckets, unless there are fewer clusters: enough to share among workers."""


def count_buckets(num_rows: int, dimension: int, n_clusters: int) -> int:
    """The number of buckets; it depends on the data alone, and the files do not depend on it."""
    return max(1, min(n_clusters, max(BUCKETS, -(-num_rows * (4 * dimension + 64) // BUCKET_BYTES))))


def bucket_units(spec: WriteClustersSpec, inputs: str) -> list[Unit[BucketTask]]:
    """One unit per bucket; `inputs` is the digest of their inputs."""
    keys = {f"bucket-{number:05d}": number for number in range(spec.n_buckets)}
    return [
        Unit(key, inputs, BucketTask(spec, number, spec.state.beside_marker(key)), f"clusters of bucket {number}")
        for key, number in keys.items()
    ]


def write_clusters(
    context: RunContext,
    state: StageState,
    tasks: Sequence[AssignTask],
    units: Sequence[Unit[BucketTask]],
    what: str,
    kept: Sequence[Any] = (),
) -> UnitsOutcome:
    """Assign the rows of all chunks, write the clusters of all buckets, and remove the bucket files.

    Args:
        context: of the run.
        state: the stage's own state.
        tasks: one per chunk.
        units: one per bucket.
        what: the units, for the progress.
        kept: futures of the rows of the chunks, where the workers have kept them since the fit; they are let go of here.

    Raises InputError or OpenFailureError if a bucket could not be written: missing clusters would look like clusters without
    duplicates.
    """
    client, chunks = context.cluster.client, tuple(task.number for task in tasks)
    todo = [replace(unit, task=replace(unit.task, chunks=chunks)) for unit in units]
    try:
        rows = list(kept) or [None] * len(tasks)
        assigned = client.map(assign_chunk, tasks, rows, pure=False)
        for one in kept:
            one.release()  # Dask keeps the rows until they are written; the memory of these then holds what is written next
        gather(client, assigned, context.reporter.note)
        outcome = run_units(
            context.cluster, state, todo, write_bucket,
            reporter=context.reporter, what=what, after_each=remove_when_written(state, chunks, units),
        )  # fmt: skip
    finally:
        state.remove_below(bucket_folder(state))
    outcome.raise_failures(f"{len(outcome.failures)} of {counted(len(units), what)} could not be written")
    return outcome


def remove_when_written(
    state: StageState, chunks: Sequence[int], units: Sequence[Unit[BucketTask]]
) -> Callable[[UnitRecord], None]:
    """A function of the record of a bucket. It removes the files of its group once all their buckets are written.

    The clusters that are written next then take the memory and the disk that these files had.
    """
    groups = bucket_groups(len(units))
    group_of = {units[bucket].key: group for group, buckets in enumerate(groups) for bucket in buckets}
    left = [len(buckets) for buckets in groups]

    def remove(record: UnitRecord) -> None:
        group = group_of[record.key]
        left[group] -= record.is_done
        if not left[group]:
            state.folder.remove_many([bucket_file(state, chunk, group) for chunk in chunks])

    return remove


def refuse_foreign_results(state: StageState, *beginnings: str) -> None:
    """Refuse an output folder with results of another origin: they must not be mixed with new ones.

    Args:
        state: the stage's own state, in the output folder.
        beginnings: how the paths of such results begin, for instance ``centroid=``.

    Raises:
        FolderInUseError: there are such files, and the stage has never written to the folder.
    """
    if state.held_for() is not None:
        return
    foreign = [entry.path for entry in state.folder.entries() if entry.path.startswith(beginnings)]
    if foreign:
        raise FolderInUseError(
            f"{state.folder.url} holds results that were not written by this stage ({foreign[0]} and "
            f"{len(foreign) - 1} more): choose an empty output folder, or remove them yourself"
        )
