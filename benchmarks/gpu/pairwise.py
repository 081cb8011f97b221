"""Similarity within a cluster on a GPU: its speed as a share of a bare matrix product (GEMM) in the same precision.

    python -m benchmarks.gpu.pairwise [--dims 512 1536] [--rows 2000 10000 50000] [--tiles 8192 16384]
        [--precisions float32 tf32 bfloat16]

Only the pairs i < j count as work. Goal: 60 % of the GEMM's speed. A device never uses tiles of less than 8192 rows. The
results must be the same for all tile sizes and precisions, and those of the CPU for clusters of up to 10,000 rows. `--rows`
is the size of one cluster: 10 million rows in 1000 clusters are 10,000 per cluster.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from benchmarks.gpu.device import Peak, fastest, gemm_flops, mixture_on_device
from benchmarks.gpu.records import sized, tell
from curator_dask.dedup.arrays.xp import suited_tile_rows
from curator_dask.dedup.similarity.candidates import CANDIDATES_VARIABLE, PRECISIONS, Precision, candidate_precision
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity

GOAL = 0.6
GOAL_FROM_ROWS = 10_000
"""Smaller clusters do not fill a device; no goal is set for them."""
COMPARED_ROWS = 10_000
"""The CPU compares clusters of up to this many rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=sized([512, 1536], [64]))
    parser.add_argument("--rows", type=int, nargs="+", default=sized([2_000, 10_000, 50_000], [600]))
    parser.add_argument("--tiles", type=int, nargs="+", default=sized([8192, 16384], [256]))
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for dim in options.dims:
        for num_rows in options.rows:
            X = mixture_on_device(num_rows, dim, max(1, num_rows // 200), seed=0)
            found = [
                measured(X, tile_rows, PRECISIONS[name], options.rounds)
                for name in options.precisions
                for tile_rows in options.tiles
            ]
            told = "in every precision and tile size"
            tell(f"{num_rows:,} x {dim} {told}", agrees=all(result == found[0] for result in found))
            if num_rows <= COMPARED_ROWS:
                expected = max_earlier_similarity(X.get())
                tell(f"{num_rows:,} x {dim}", agrees=found[0] == tuple(part.tobytes() for part in expected))


def measured(X: Any, tile_rows: int, asked: Precision, rounds: int) -> tuple[bytes, ...]:
    """Tell the speed; returns the bytes of the result."""
    os.environ[CANDIDATES_VARIABLE] = asked.name
    precision = candidate_precision(X)  # float32 where the device has no other
    num_rows, dim = X.shape
    found = max_earlier_similarity(X, tile_rows=tile_rows)
    gemm = gemm_flops(dim, precision, size=sized(8192, 64))
    with Peak().watching() as peak:
        seconds = fastest(lambda: max_earlier_similarity(X, tile_rows=tile_rows), rounds)
    flops = num_rows * (num_rows - 1.0) * dim / seconds
    what = f"{num_rows:,} x {dim}, {precision.name}, tiles of {suited_tile_rows(X, tile_rows):,}"
    tell(f"{what}: {num_rows / seconds:,.0f} rows/s, {flops / 1e12:.1f} of {gemm / 1e12:.1f} TFLOP/s, {peak}", flops / gemm,
         "of the GEMM", at_least=GOAL if num_rows >= GOAL_FROM_ROWS else None)  # fmt: skip
    return tuple(part.tobytes() for part in found)


if __name__ == "__main__":
    main()
