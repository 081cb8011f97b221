"""The fit of k-means on GPUs: cuML's Lloyd from our own start, watched, and repeated once if workers are lost.

One worker fits by itself (`cuml.cluster.KMeans`), several together (`cuml.dask.cluster.KMeans`, one NCCL rank per worker).
The vectors lie in host memory, where the census and the start need them, and are copied to the devices for the fit if
they need at most `DEVICE_SHARE` of the free memory there; otherwise they stay, and cuML streams them through a buffer in
every iteration. Start, stop rule and empty clusters are those of the CPU (`curator_dask.dedup.kmeans.lloyd`); the sums are not:
cuML adds float32 numbers in its own order, so centres agree to about six digits, not in every bit.

A fit over several workers has a barrier in every iteration, and NCCL waits for ever: if one rank fails or dies,
the others hang. So `curator_dask.stages.kmeans.fit_watch` watches it. Written against RAPIDS 26.10
(its host side runs in tests/rapids; not yet on a device).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.runtime.device import WorkerMemory, worker_memory
from curator_dask.runtime.waiting import asking_scheduler, gather, log
from curator_dask.stages.kmeans.fit_watch import FitLostError, watch
from curator_dask.stages.kmeans.spec import FitRows

DEVICE_SHARE: Final = 0.6
"""Share of a device's free memory for vectors; the rest is for labels, distances and the buffers of cuML and NCCL."""
BUFFER_SHARE: Final = 0.1
"""Share of a device's free memory for each of the two buffers that vectors in host memory are streamed through."""
MIN_BUFFER_ROWS: Final = 4096

# The deadline assumes these speeds: a tenth of what the slowest supported GPUs do (Volta, 14 TFLOP/s; PCIe 3, 12 GB/s).
FLOP_PER_S: Final = 1.0e12
BYTES_PER_S: Final = 1.0e9
START_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class GpuFit:
    """The settings of cuML, besides the vectors and the start."""

    max_iter: int
    tol: float
    seed: int
    max_rows: int
    """At most this many rows have their distances to all centres in memory at a time."""
    in_host_memory: bool = False
    """Leave the vectors in host memory even if they fit on the devices."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The place of the vectors during a fit, and the estimator."""

    on_device: bool
    """Whether the vectors are on the devices, not in host memory."""
    alone: bool
    """Whether one worker fits: `cuml.cluster.KMeans` in one task, without NCCL."""
    buffer_rows: int
    """cuML's ``device_buffer_samples``; 0 if the vectors are on the device."""


def fit_on_gpus(
    client: Any,
    loaded: Sequence[Any],
    start: NDArray[np.float32],
    parameters: GpuFit,
    say: Callable[[str], None] = log,
) -> tuple[NDArray[np.float32], int]:
    """Lloyd's iterations over all GPU workers, from the centres ``start`` (k, D).

    Args:
        loaded: futures of `FitRows` whose X is in host memory; together at least k rows.
        say: hears of it if there are no workers.

    Returns:
        ``(centres, iterations)``: (k, D) float32 on the host, and the number of iterations.

    Raises:
        FitLostError: a worker was lost or the deadline passed; `retry` repeats the fit.
        DeviceFullError: a device had too little memory.
        ClusterError, DeviceError: no GPU workers come, or cuML fails.
    """
    sizes: list[int] = gather(client, client.map(_num_rows, list(loaded), pure=False), say)
    memories = _memories(client)
    k, dimension = start.shape
    plan = plan_fit(list(memories.values()), sum(sizes), dimension, in_host_memory=parameters.in_host_memory)
    options = estimator_options(start, parameters, plan)
    filled = [(future, size) for future, size in zip(loaded, sizes, strict=True) if size]

    def work() -> tuple[NDArray[np.float32], int]:
        if plan.alone:
            return _fit_in_one_task(client, [future for future, _ in filled], options, plan)
        return _fit_together(client, filled, dimension, options, plan, sorted(memories))

    deadline_s = longest_fit_s(sum(sizes), dimension, k, parameters.max_iter, len(memories))
    return watch(client, work, workers=set(memories), deadline_s=deadline_s)


def _memories(client: Any) -> dict[str, WorkerMemory]:
    """The memory of each worker. Raises FitLostError if one leaves while it is asked, or all have left."""
    with asking_scheduler():
        found = client.run(worker_memory, on_error="return")
    lost = [str(error) for error in found.values() if isinstance(error, OSError)]
    if lost or not found:
        raise FitLostError(f"the GPU workers went away before the fit ({', '.join(lost) or 'none is left'})")
    for error in found.values():
        if isinstance(error, Exception):
            raise error
    return dict(found)


def plan_fit(memories: Sequence[WorkerMemory], num_rows: int, dimension: int, *, in_host_memory: bool = False) -> Plan:
    """Choose the place for ``num_rows`` vectors and the estimator, by the memory of the workers."""
    row_bytes = 4 * dimension
    free = min(memory.device_free for memory in memories)
    on_device = not in_host_memory and num_rows * row_bytes <= DEVICE_SHARE * free * len(memories)
    # One array of all parts is a second copy in host memory; a Dask fit takes the parts as they are.
    has_room = on_device or memories[0].host_free >= num_rows * row_bytes
    buffer_rows = 0 if on_device else min(num_rows, max(MIN_BUFFER_ROWS, int(BUFFER_SHARE * free) // row_bytes))
    return Plan(on_device, len(memories) == 1 and has_room, buffer_rows)


def estimator_options(start: NDArray[np.float32], parameters: GpuFit, plan: Plan) -> dict[str, Any]:
    """The parameters of cuML's KMeans, for one worker and for several."""
    return {
        "n_clusters": len(start),
        "init": np.ascontiguousarray(start, dtype=np.float32),
        "n_init": 1,  # "auto" would mean ten runs from the same array
        "max_iter": parameters.max_iter,
        "tol": parameters.tol,
        "random_state": int(parameters.seed) % 2**31,
        "max_samples_per_batch": parameters.max_rows,
        "device_buffer_samples": plan.buffer_rows,
    }


def longest_fit_s(num_rows: int, dimension: int, k: int, max_iter: int, num_workers: int) -> float:
    """Seconds after which a fit must be stuck: ten times the time of all iterations on the slowest GPUs."""
    flop = 2.0 * num_rows * dimension * k * max_iter
    moved = 4.0 * num_rows * dimension * max_iter
    return START_S + (flop / FLOP_PER_S + moved / BYTES_PER_S) / num_workers


def choose_workers(sizes: Sequence[int], workers: Sequence[str]) -> list[str]:
    """A worker for every part: the largest part is placed first, each on the worker with the fewest rows.

    >>> choose_workers([5, 9, 4, 1], ["a", "b"])
    ['b', 'a', 'b', 'a']
    """
    rows = dict.fromkeys(workers, 0)
    places = [""] * len(sizes)
    for number in sorted(range(len(sizes)), key=lambda part: (-sizes[part], part)):
        places[number] = min(workers, key=lambda worker: rows[worker])
        rows[places[number]] += sizes[number]
    return places


def _fit_together(
    client: Any,
    parts: Sequence[tuple[Any, int]],
    dimension: int,
    options: Mapping[str, Any],
    plan: Plan,
    workers: Sequence[str],
) -> tuple[NDArray[np.float32], int]:
    from cuml.dask.cluster import KMeans

    X = dask_matrix(client, parts, dimension, workers, on_device=plan.on_device)
    model = KMeans(client=client, **options).fit(X)
    return _on_host(model.cluster_centers_), int(model.n_iter_)


def dask_matrix(
    client: Any, parts: Sequence[tuple[Any, int]], dimension: int, workers: Sequence[str], *, on_device: bool
) -> Any:
    """A Dask array, (n, D) float32, with one block per part, each on its planned worker.

    A part is a future of `FitRows` and its number of rows, which is not 0: cuML's labels would lack an empty part.
    """
    import dask.array as da

    places = choose_workers([size for _, size in parts], workers)
    held = [
        # Pinned: a rank is made of the parts that its worker holds. `watch` notices a lost worker.
        client.submit(_matrix, future, on_device=on_device, workers=[place], pure=False)
        for (future, _), place in zip(parts, places, strict=True)
    ]
    meta = np.empty((0, dimension), dtype=np.float32)
    blocks = [da.from_delayed(future, shape=(size, dimension), dtype=np.float32, meta=meta)
              for future, (_, size) in zip(held, parts, strict=True)]  # fmt: skip
    return da.concatenate(blocks)


def _matrix(rows: FitRows, *, on_device: bool) -> Any:
    X = np.ascontiguousarray(rows.matrix(), dtype=np.float32)
    if not on_device:
        return X
    import cupy

    return cupy.asarray(X)


def _num_rows(rows: FitRows) -> int:
    return len(rows.priority)


def _fit_in_one_task(
    client: Any, loaded: Sequence[Any], options: Mapping[str, Any], plan: Plan
) -> tuple[NDArray[np.float32], int]:
    task = client.submit(_fit_alone, list(loaded), options=dict(options), on_device=plan.on_device, pure=False)
    result: tuple[NDArray[np.float32], int] = task.result()
    return result


def _fit_alone(
    rows: Sequence[FitRows], *, options: Mapping[str, Any], on_device: bool
) -> tuple[NDArray[np.float32], int]:
    """On the only worker: fit all parts in one array, as cuML's estimator for one GPU needs it."""
    from cuml.cluster import KMeans

    model = KMeans(output_type="numpy", **options).fit(
        join_parts([part.matrix() for part in rows], on_device=on_device)
    )
    return _on_host(model.cluster_centers_), int(model.n_iter_)


def join_parts(parts: Sequence[NDArray[np.float32]], *, on_device: bool) -> Any:
    """The parts (n_i, D) as one array, in host memory or on the device; neither holds the rows twice."""
    if not on_device:
        return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
    import cupy

    X = cupy.empty((sum(map(len, parts)), parts[0].shape[1]), dtype=np.float32)
    start = 0
    for part in parts:
        X[start : start + len(part)] = cupy.asarray(part)
        start += len(part)
    return X


def _on_host(array: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(array.get() if hasattr(array, "get") else array, dtype=np.float32)
