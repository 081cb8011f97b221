"""What the hashes in the records cost: how quick each one is, and the time to hash a stage's outputs, as a share of the stage's.

Run: ``python -m benchmarks.hashes``. One worker does each stage, so that its time is the work of one core, as hashing is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator_dask import EmbedStage, KMeansStage, PairwiseStage, SplitStage
from curator_dask.files.content_hash import HASHES, hash_of
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, Stage
from curator_dask.video.samples import render_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--scenes", type=int, default=4)
    chosen = parser.parse_args()
    print("\n".join(_speeds()), end="\n\n")
    with (
        tempfile.TemporaryDirectory() as scratch,
        LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster,
    ):
        cluster.client.submit(_warm_up).result()
        root = Path(scratch)
        render_samples(root / "videos", num_scenes=chosen.scenes, length_s=20.0)
        _random_vectors(root / "vectors", chosen.rows)
        print("| stage | seconds | MB of outputs | seconds to hash them | share |\n|---|---|---|---|---|")
        for stage in _stages(root):
            print(_line(stage, RunContext(cluster)))


def _speeds(total_bytes: int = 256_000_000) -> Iterator[str]:
    """CPU time of each hash that records may hold, for files of several sizes, the middle one of five rounds."""
    yield "| bytes per file | hash | µs per file | GB per CPU second |\n|---|---|---|---|"
    for num_bytes in (2_000, 200_000, 2_000_000):
        data, times = os.urandom(num_bytes), {name: list[float]() for name in HASHES}
        for name in [*HASHES] * 5:
            start, repeats = time.process_time(), total_bytes // num_bytes
            for _ in range(repeats):
                hash_of(data, like=name)
            times[name].append((time.process_time() - start) / repeats)
        for name, found in times.items():
            one_s = statistics.median(found)
            yield f"| {num_bytes:,} | {name} | {one_s * 1e6:.1f} | {num_bytes / one_s / 1e9:.2f} |"


def _warm_up() -> None:
    import curator_dask.stages.kmeans.stage
    import curator_dask.stages.split.stage  # noqa: F401


def _stages(root: Path) -> list[Stage]:
    out = str(root / "out")
    return [
        SplitStage(str(root / "videos"), out),
        EmbedStage(input_path=out, output_path=f"{out}/vectors"),
        KMeansStage(100, input_path=str(root / "vectors"), output_path=f"{out}/kmeans"),
        PairwiseStage(input_path=f"{out}/kmeans", output_path=f"{out}/pairwise"),
    ]


def _random_vectors(folder: Path, num_rows: int, dimension: int = 512) -> None:
    folder.mkdir()
    X = np.random.default_rng(0).standard_normal((num_rows, dimension), np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), dimension)
    pq.write_table(pa.table({"id": [f"c{row}" for row in range(num_rows)], "embedding": vectors}), folder / "a.parquet")


def _line(stage: Stage, context: RunContext) -> str:
    start = time.perf_counter()
    result = stage.execute(context)
    stage_s = time.perf_counter() - start
    num_bytes, hash_s = _hash_all(StageState(result.output, stage.name), result.output)
    return f"| {stage.name} | {stage_s:.2f} | {num_bytes / 1e6:.1f} | {hash_s:.3f} | {hash_s / stage_s:.2%} |"


def _hash_all(state: StageState, folder: Folder) -> tuple[int, float]:
    """Bytes of all recorded outputs, and the seconds to hash them with the files in the memory of the system."""
    outputs = {path: size for record in state.records() for path, size in record.outputs.items()}
    start = time.perf_counter()
    for path in outputs:
        folder.content_hash(path)
    return sum(outputs.values()), time.perf_counter() - start


if __name__ == "__main__":
    main()
