"""Similarity within a cluster on a GPU: its speed as a share of a bare matrix product (GEMM) in the same precision.

    python -m benchmarks.gpu.pairwise [--dims 512 1536] [--rows 2000 10000 50000] [--tiles 8192 16384]
        [--precisions float32 tf32] [--out FILE]

Only the pairs i < j count as work. Goal: 60 % of the GEMM's speed. A device never uses tiles of less than 8192 rows. The
results must be the same for all tile sizes and precisions. `--rows` is the size of one cluster: 10 million rows in 1000
clusters are 10,000 per cluster.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.gpu.device import Peak, gemm_flops, mixture_on_device, report, timed
from curator_dask.dedup.arrays.xp import suited_tile_rows
from curator_dask.dedup.similarity.candidates import CANDIDATES_VARIABLE, PRECISIONS, Precision, candidate_precision
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 1536])
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 10_000, 50_000])
    parser.add_argument("--tiles", type=int, nargs="+", default=[8192, 16384])
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=["float32", "tf32"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = []
    for dim in options.dims:
        for num_rows in options.rows:
            X = mixture_on_device(num_rows, dim, max(1, num_rows // 200), seed=0)
            found = [
                measured(X, tile_rows, PRECISIONS[name], options.rounds, table)
                for name in options.precisions
                for tile_rows in options.tiles
            ]
            if any(result != found[0] for result in found):
                raise SystemExit(f"{num_rows} rows of {dim}: the results depend on the precision or on the tiles")
    report(
        options.out,
        "Pairwise, one cluster (goal: a share of 60 %)",
        ["D", "rows", "tile", "precision", "rows/s", "TFLOP/s (i<j)", "GEMM TFLOP/s", "share", "device memory, peak"],
        table,
    )


def measured(X: Any, tile_rows: int, asked: Precision, rounds: int, table: list[list[object]]) -> tuple[bytes, ...]:
    """Add a row to the table; returns the bytes of the result."""
    os.environ[CANDIDATES_VARIABLE] = asked.name
    precision = candidate_precision(X)  # float32 where the device has no other
    num_rows, dim = X.shape
    found = max_earlier_similarity(X, tile_rows=tile_rows)
    gemm = gemm_flops(dim, precision)
    with Peak().watching() as peak:
        seconds = min(timed(lambda: max_earlier_similarity(X, tile_rows=tile_rows)) for _ in range(rounds))
    flops = num_rows * (num_rows - 1.0) * dim / seconds
    table.append(
        [dim, f"{num_rows:,}", f"{suited_tile_rows(X, tile_rows):,}", precision.name, f"{num_rows / seconds:,.0f}",
         f"{flops / 1e12:.1f}", f"{gemm / 1e12:.1f}", f"{flops / gemm:.0%}", peak]
    )  # fmt: skip
    return tuple(part.tobytes() for part in found)


if __name__ == "__main__":
    main()
