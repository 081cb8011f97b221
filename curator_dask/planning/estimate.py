"""What each stage of a run needs, by its arithmetic and measured rates.

Work is counted in operations and bytes, as the stages do it: products of rows and centroids, products of rows within a
cluster, passes over the vectors. So an estimate for a size that nobody measured says what grows how.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from curator_dask.planning.one_byte import share_left
from curator_dask.planning.rates import StageRates
from curator_dask.planning.run_size import RunSize
from curator_dask.stages.embed.units import CLIPS_PER_UNIT
from curator_dask.stages.kmeans.parameters import GROUPED_FROM, KMeansParameters
from curator_dask.stages.kmeans.sample import Sample, choose_sample

ITERATIONS: Final = 15
"""Iterations of k-means until its stop rule ends it (10 to 18 were measured)."""
SAMPLE_ITERATIONS: Final = 6
"""The same on the first rows of a sample, where it stops earlier (4 and 6 were measured)."""
NEAR_STEPS: Final = 1.2
"""Passes that finding the near centres of a level's rows and the iterations among them take, in those over its rows: by
arithmetic from what each step takes, without products of one-byte numbers."""
CLIENT_GB: Final = 0.3
"""Memory of a client that has loaded the package and Dask."""
WORKER_GB: Final = 0.6
"""Memory of a worker beside the vectors that it holds."""
ACROSS: Final = 4.0
"""Time of the cross-cluster stage per operation of its budget, in that of products, where it spends all of it (156 core s of
a million). At an eps of .01 it spends far less (44), but a plan knows no eps."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage needs. Sizes are in 10^9 bytes."""

    stage: str
    core_hours: float
    """On CPUs; of a stage that runs on GPUs, if there are none."""
    client_hours: float
    """Time in which one process does everything, whatever the number of workers."""
    gpu_hours: float | None
    """None: the stage computes on CPUs only."""
    disk_gb: float
    """What stays."""
    temporary_gb: float
    """What lies on the disk meanwhile, too."""
    client_gb: float
    """Memory of the client."""
    worker_gb: float
    """Memory of each worker."""
    product_hours: float = 0.0
    """The part of the core hours that GPUs take over: matrix products. Reading and writing stay."""

    def wall_hours(self, cores: int, gpus: int) -> float:
        """Hours with this many cores and GPUs, all of them busy."""
        if not gpus or self.gpu_hours is None:
            return self.core_hours / cores + self.client_hours
        return self.gpu_hours / gpus + (self.core_hours - self.product_hours) / cores + self.client_hours


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The estimates of all stages, and what they mean."""

    size: RunSize
    rates: StageRates
    stages: tuple[StageEstimate, ...]

    @property
    def wall_hours(self) -> float:
        """The stages run one after the other."""
        return sum(one.wall_hours(self.size.cores, self.size.gpus) for one in self.stages)

    @property
    def disk_gb(self) -> float:
        """The most that lies on the disk at a time."""
        kept, most = 0.0, 0.0
        for one in self.stages:
            kept += one.disk_gb
            most = max(most, kept + one.temporary_gb)
        return most

    def cores_for(self, hours: float) -> int | None:
        """Cores, without GPUs, that end the run within these hours; None if the client alone takes longer."""
        left = hours - sum(one.client_hours for one in self.stages)
        return math.ceil(sum(one.core_hours for one in self.stages) / left) if left > 0 else None

    def balanced_clusters(self) -> int:
        """The number of clusters at which finding the clusters costs as much as comparing within them."""
        if self.size.clips < 2:
            return 1
        with_all = max(1, round(math.sqrt(self.size.clips / 2 / (1 + _fit_passes(self.size)))))
        return max(1, round(with_all * math.sqrt(share_left(replace(self.size, n_clusters=with_all)))))


def plan_run(size: RunSize, rates: StageRates | None = None) -> RunPlan:
    """Estimate every stage of a run.

    >>> plan = plan_run(RunSize(clips=1e6, align=False, cores=32))
    >>> [one.stage for one in plan.stages]
    ['split', 'embed', 'kmeans', 'pairwise', 'identify', 'export']
    >>> 30 < plan.wall_hours < 40
    True
    """
    rates = rates or StageRates()
    return RunPlan(size, rates, tuple(_stages(size, rates)))


def _stages(size: RunSize, rates: StageRates) -> Iterator[StageEstimate]:
    yield _split(size, rates)
    yield _embed(size, rates)
    if size.align:
        yield _align(size, rates)
    else:
        yield _kmeans(size, rates)
        yield _pairwise(size, rates)
        if size.cross_cluster:
            yield _cross_cluster(size, rates)
    yield _identify(size, rates)
    yield _export(size, rates)


def _split(size: RunSize, rates: StageRates) -> StageEstimate:
    core_s, client_s = size.num_hours * rates.split_core_s_per_hour, size.num_videos * rates.unit_client_s
    client_gb = CLIENT_GB + size.num_videos * rates.split_unit_bytes / 1e9
    return _on_cpus("split", core_s, client_s, size.clips_gb, client_gb)


def _embed(size: RunSize, rates: StageRates) -> StageEstimate:
    network_s = size.clips * size.model_tflop * 1000 / rates.gflops_per_core
    core_s = size.num_hours * rates.embed_core_s_per_hour + network_s
    gpu_s = size.clips * size.model_tflop / rates.gpu_model_tflops
    tracks_gb = size.num_hours * 3600 * rates.track_bytes_per_s / 1e9
    client_s = size.num_videos * rates.unit_client_s
    client_gb = CLIENT_GB + _num_units(size) * rates.embed_unit_bytes / 1e9
    return StageEstimate(
        "embed", core_s / 3600, client_s / 3600, gpu_s / 3600 if size.model_tflop else None,
        size.vectors_gb + tracks_gb, 0.0, client_gb, WORKER_GB, network_s / 3600,
    )  # fmt: skip


def _num_units(size: RunSize) -> float:
    """Units of embed, at most; each writes a file of tracks."""
    return size.num_videos + size.clips / CLIPS_PER_UNIT


def _align(size: RunSize, rates: StageRates) -> StageEstimate:
    # Measured with a million clips of ten seconds: 17.94 GB of files on their way, 2.9 GB of memory in all.
    scale = size.num_hours * 3600 / 10e6
    core_s = rates.align_core_s_per_clip * size.num_hours * 360
    # client_memory_2_cores.md: 30 s and 0.1 GB to sort the tables, a kilobyte for the names of a video and of its file of
    # tracks; 3 s and 0.03 GB for the centres of the cells.
    client_s = 33.0 * scale
    client_gb = CLIENT_GB + 0.1 + 0.03 * scale + _num_units(size) * 1e-6
    return StageEstimate("align", core_s / 3600, client_s / 3600, None, 0.05 * scale, 18.0 * scale, client_gb, 1.2)


def _kmeans(size: RunSize, rates: StageRates) -> StageEstimate:
    sample = _sample(size)
    held_gb = size.vectors_gb * (sample.fraction + (sample.kept and sample.refined))
    flop = (1 + _fit_passes(size)) * _flop_per_assignment(size)
    # Read once where workers keep the rows, else for the census, a step and the assignment; written twice (buckets, clusters).
    passes_s = (3 if sample.kept else 4 + sample.step) * rates.pass_core_s_per_gb * size.vectors_gb
    copy_gb = size.vectors_gb + size.clips * rates.table_bytes_per_clip / 1e9
    return _with_products(
        "kmeans", flop, passes_s + size.num_clusters * rates.cluster_core_s, rates, copy_gb, size.vectors_gb,
        client_gb=CLIENT_GB, worker_gb=WORKER_GB + min(2.7, held_gb) / 2 + 0.3,
        client_s=_start_s(size, rates),
    )  # fmt: skip


def _start_s(size: RunSize, rates: StageRates) -> float:
    k = size.num_clusters
    return 1e-9 * size.dim * (rates.start_ns * k**2 if k < GROUPED_FROM else rates.grouped_start_ns * k**1.5)


def _pairwise(size: RunSize, rates: StageRates) -> StageEstimate:
    reading_s = rates.pass_core_s_per_gb * size.vectors_gb
    return _with_products(
        "pairwise", _flop_within(size), reading_s + size.num_clusters * rates.cluster_core_s, rates,
        size.clips * rates.table_bytes_per_clip / 1e9, 0.0, CLIENT_GB, WORKER_GB + 2 * size.vectors_gb / size.num_clusters,
        product_share=share_left(size),
    )  # fmt: skip


def _cross_cluster(size: RunSize, rates: StageRates) -> StageEstimate:
    budget = ACROSS * (_flop_within(size) + 2 * _flop_per_assignment(size))
    reading_s = 2 * rates.pass_core_s_per_gb * size.vectors_gb
    return _with_products(
        "cross_cluster", budget, reading_s, rates, size.clips * rates.table_bytes_per_clip / 1e9, 0.9 * size.vectors_gb,
        CLIENT_GB, WORKER_GB + 2 * size.vectors_gb / size.num_clusters,
    )  # fmt: skip


def _identify(size: RunSize, rates: StageRates) -> StageEstimate:
    # Its tasks read the tables and join the decisions; one worker holds the rows with a duplicate in another cluster.
    per_clip = rates.identify_overlap_core_s_per_clip if size.align else rates.identify_core_s_per_clip
    core_s = size.clips * per_clip
    size_gb = size.clips * rates.table_bytes_per_clip / 1e9
    crossing = size.clips * rates.crossing_share if size.cross_cluster and not size.align else 0.0
    worker_gb = WORKER_GB + crossing * rates.identify_bytes_per_crossing_clip / 1e9
    client_s = core_s / 4
    return StageEstimate(
        "identify", (core_s - client_s) / 3600, client_s / 3600, None, size_gb, 0.0, CLIENT_GB, worker_gb
    )


def _export(size: RunSize, rates: StageRates) -> StageEstimate:
    core_s = size.clips_gb * rates.copy_core_s_per_gb
    client_s = size.clips * rates.export_client_s_per_clip
    return _on_cpus("export", core_s, client_s, size.clips_gb, _client_gb(size, rates.index_bytes_per_clip))


def _on_cpus(stage: str, core_s: float, client_s: float, disk_gb: float, client_gb: float) -> StageEstimate:
    """A stage that computes nothing on GPUs, and leaves no files on their way."""
    return StageEstimate(stage, core_s / 3600, client_s / 3600, None, disk_gb, 0.0, client_gb, WORKER_GB)


def _with_products(
    stage: str, flop: float, other_core_s: float, rates: StageRates, disk_gb: float, temporary_gb: float,
    client_gb: float, worker_gb: float, client_s: float = 0.0, product_share: float = 1.0,
) -> StageEstimate:  # fmt: skip
    """A stage that multiplies matrices, on CPUs or on GPUs; ``other_core_s`` is the rest, which GPUs do not shorten here.

    CPUs take ``product_share`` of the time of all products, as they leave some out.
    """
    product_hours = product_share * flop / (rates.gflops_per_core * 1e9) / 3600
    gpu_hours = flop / (rates.gpu_tflops * 1e12) / 3600
    core_hours = product_hours + other_core_s / 3600
    return StageEstimate(
        stage, core_hours, client_s / 3600, gpu_hours, disk_gb, temporary_gb, client_gb, worker_gb, product_hours
    )


def _flop_per_assignment(size: RunSize) -> float:
    return 2.0 * size.clips * size.num_clusters * size.dim


def _flop_within(size: RunSize) -> float:
    """Of the products of all rows with those before them, in clusters of one size; uneven ones take more."""
    return size.clips * (size.clips / size.num_clusters) * size.dim


def _fit_passes(size: RunSize) -> float:
    """The iterations of the fit, and the step over all rows where there is one, in passes over all rows."""
    sample = _sample(size)
    if not sample.levels:
        return sample.fraction * ITERATIONS
    first, *others = sample.levels
    return first * SAMPLE_ITERATIONS + NEAR_STEPS * sum(others) + sample.step


def _sample(size: RunSize) -> Sample:
    return choose_sample(KMeansParameters(size.n_clusters), int(size.clips), size.dim)


def _client_gb(size: RunSize, bytes_per_clip: float) -> float:
    return CLIENT_GB + size.clips * bytes_per_clip / 1e9
