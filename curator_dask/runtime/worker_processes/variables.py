"""The variables of the environment that local workers have from their start on. Those that this process has are kept."""

from __future__ import annotations

from collections.abc import Mapping

# Dask has glibc give memory back to the system at once. Then each temporary array of some megabytes is made of fresh pages,
# and arithmetic in blocks takes three to nine times its CPU time (benchmarks/results/whole_dedup_2_cores.md).
# Arrow's own allocator gives memory back too, which doubles the system time of writing Parquet.
# By default glibc keeps memory for each thread apart: .3 GB more per worker that writes files in eight threads.
_KEPT_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_HASH_SEED = "PYTHONHASHSEED"
_SAME_HASHES = "6640"
"""What nannies choose, so that equal values have equal hashes in all workers."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
NAMES = (*_THREADS, *_KEPT_MEMORY, _HASH_SEED)
"""Those that this package chooses or that Dask's nannies do."""


def process_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that glibc, Arrow and Python read as they start; `environ`: what a process has by itself."""
    seed = environ.get(_HASH_SEED, "0")
    return {**_found(_KEPT_MEMORY, environ), _HASH_SEED: _SAME_HASHES if seed == "0" else seed}


def worker_variables(n_workers: int | None, environ: Mapping[str, str]) -> dict[str, str]:
    """All of them, also those that Dask's configuration names; None: one worker per core."""
    import dask
    from dask.system import CPU_COUNT

    # Nannies set the BLAS threads to 1, which leaves cores idle when there are fewer workers than cores.
    threads = dict.fromkeys(_THREADS, str(max(1, CPU_COUNT // (n_workers or CPU_COUNT))))
    configured = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    chosen = {name: str(value) for name, value in configured.items() if value is not None}
    return {**_found({**chosen, **threads}, environ), **process_variables(environ)}


def _found(wanted: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ.get(name, value) for name, value in wanted.items()}
