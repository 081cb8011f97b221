"""The forty lines that a user would write to remove near-duplicates: what `benchmarks.whole_dedup --peer` compares with.

    python -m benchmarks.forty_lines FOLDER_OF_PARQUET [--clusters 1000] [--eps 0.01]

faiss (MIT licence) clusters the vectors with its default settings: 25 iterations on at most 256 rows per centroid. torch
multiplies the rows of each cluster with each other; a row goes if one before it is within eps. Everything is in the
memory of one process, the ids that stay are written to one text file, and nothing can be resumed.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from itertools import pairwise
from pathlib import Path

import numpy as np


def remove_duplicates(folder: Path, n_clusters: int, eps: float) -> dict[str, float]:
    """Write the ids that stay to ``keep.txt`` beside the folder; returns seconds by part, and the number of removed rows."""
    import faiss
    import pyarrow.dataset as ds
    import torch

    marks = {"start": _now()}
    table = ds.dataset(str(folder), format="parquet").to_table(columns=["id", "embedding"])
    ids = table["id"].to_numpy()
    X = np.concatenate([chunk.flatten().to_numpy() for chunk in table["embedding"].chunks]).reshape(len(ids), -1)
    del table
    faiss.normalize_L2(X)
    marks["read"] = _now()
    kmeans = faiss.Kmeans(X.shape[1], n_clusters)
    kmeans.train(X)
    marks["fit"] = _now()
    labels = kmeans.index.search(X, 1)[1][:, 0]
    marks["assign"] = _now()
    removed = np.zeros(len(ids), dtype=bool)
    for cluster in range(n_clusters):
        members = np.flatnonzero(labels == cluster)
        rows = torch.from_numpy(X[members])
        near = torch.triu(rows @ rows.T, diagonal=1).amax(dim=0) >= 1 - eps if len(members) else []
        removed[members] = np.asarray(near, dtype=bool)
    Path(folder.parent, "keep.txt").write_text("\n".join(ids[~removed]) + "\n")
    marks["pairs"] = _now()
    names = list(marks)
    parts = {
        f"{name} {kind}": marks[name][at] - marks[before][at]
        for before, name in pairwise(names)
        for at, kind in enumerate(("wall", "cpu"))
    }
    return {**parts, "removed": int(removed.sum())}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.01)
    options = parser.parse_args()
    figures = remove_duplicates(options.folder, options.clusters, options.eps)
    usage = resource.getrusage(resource.RUSAGE_SELF)  # from the start of Python, imports included
    figures |= {"all cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024 / 1e9}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
