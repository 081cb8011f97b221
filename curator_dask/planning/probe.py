"""A quick look at how fast this machine is: a few seconds on one core."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from curator_dask.planning.rates import StageRates

ROWS = 8192
VIDEO_S = 4


def measure_rates() -> StageRates:
    """The shipped rates, with those of this machine where a few seconds tell them: products, vectors on disk, encoding.

    CPU time is measured, so other programs that run at the same time disturb it little.
    """
    origin = (
        f"measured on {platform.node()} ({platform.machine()}, {os.cpu_count()} cores) in a few seconds; others shipped"
    )
    return StageRates(
        origin=origin,
        gflops_per_core=_gflops(),
        pass_core_s_per_gb=_pass_core_s_per_gb(),
        split_core_s_per_hour=_split_core_s_per_hour(),
    )


def _gflops() -> float:
    """Of finding the nearest of 1,024 centroids, with all that belongs to it; BLAS threads count as CPU time."""
    from curator_dask.dedup.kmeans.assign import assign

    X = _rows()
    C = np.ascontiguousarray(X[:1024])
    assign(X[:512], C)
    before = time.process_time()
    for _ in range(3):
        assign(X, C)
    operations = 3 * 2 * len(X) * int(X.shape[1]) * len(C)
    return operations / max(1e-6, time.process_time() - before) / 1e9


def _pass_core_s_per_gb() -> float:
    """The mean of writing and of reading vectors as Parquet."""
    import pyarrow as pa

    from curator_dask.data.tables import write_parquet
    from curator_dask.data.vector_source import Piece, VectorSource, read_rows
    from curator_dask.data.vectors import matrix_column
    from curator_dask.files.folder import Folder

    X = _rows()
    with tempfile.TemporaryDirectory() as scratch:
        folder, before = Folder(scratch), time.process_time()
        table = pa.table({"id": np.arange(ROWS), "embedding": matrix_column(X)})
        write_parquet(folder, "vectors.parquet", table, vectors=["embedding"])
        source = VectorSource(folder, "parquet", "id", "embedding", dimension=X.shape[1])
        read_rows(source, (Piece("vectors.parquet"),))
    return max(1e-6, time.process_time() - before) / 2 / (X.nbytes / 1e9)


def _split_core_s_per_hour() -> float:
    """Core seconds to decode and encode an hour of 720p, from a few seconds of ffmpeg's test picture."""
    from curator_dask.video.process.ffmpeg import ffmpeg_path

    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "in.mp4"), Path(scratch, "out.mp4")
        encoding = ["-c:v", "libopenh264", "-threads", "1"]
        made = ["-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate=30:duration={VIDEO_S}"]
        _run([ffmpeg_path(), "-v", "error", *made, *encoding, str(source)])
        before = os.times()
        _run([ffmpeg_path(), "-v", "error", "-i", str(source), *encoding, str(out)])
        after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used * 3600 / VIDEO_S


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _rows() -> np.ndarray:
    X = np.random.default_rng(0).standard_normal((ROWS, 512), np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X
