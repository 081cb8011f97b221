"""The pairwise kernel on a GPU: its share of the GEMM rate of the same type, counted on the half i < j.

    python -m benchmarks.gpu.pairwise [--dims 512 1536] [--rows 2000 10000 50000] [--tiles 1024 4096 16384] [--out FILE]

Goal: 60 % of the GEMM rate. `rows` are those of one cluster: 10 million rows in 1000 clusters are 10,000 each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.gpu.device import Peak, device_name, gemm_flops, mixture_on_device, report, timed
from curator_dask.dedup.pairwise import max_earlier_similarity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 1536])
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 10_000, 50_000])
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = []
    for dim in options.dims:
        peak_flops = gemm_flops(dim)
        for num_rows in options.rows:
            X = mixture_on_device(num_rows, dim, max(1, num_rows // 200), seed=0)
            for tile_rows in options.tiles:
                with Peak().watching() as peak:
                    seconds = min(
                        timed(lambda X=X, tile_rows=tile_rows: max_earlier_similarity(X, tile_rows=tile_rows))
                        for _ in range(options.rounds)
                    )
                flops = num_rows * (num_rows - 1.0) * dim / seconds
                table.append(
                    [dim, f"{num_rows:,}", f"{tile_rows:,}", f"{num_rows / seconds:,.0f}", f"{flops / 1e12:.1f}",
                     f"{peak_flops / 1e12:.1f}", f"{flops / peak_flops:.0%}", peak]
                )  # fmt: skip
    report(
        options.out,
        f"Pairwise, one cluster, float32, {device_name()}",
        ["D", "rows", "tile", "rows/s", "TFLOP/s (i<j)", "GEMM TFLOP/s", "share", "device memory, peak"],
        table,
    )


if __name__ == "__main__":
    main()
