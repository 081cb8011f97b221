"""What whole stages ask a store for: each folder is listed once, also where workers write between two looks at it."""

from __future__ import annotations

import collections
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, KMeansStage, PairwiseStage
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext
from tests.files.object_store.conftest import Noting

NUM_FILES, ROWS_PER_FILE, CLUSTERS = 4, 12, 3


@pytest.fixture(scope="module")
def vectors(place: Callable[[str], Folder]) -> Folder:
    """Twelve pairs of near vectors, in four files."""
    folder, random = place("job"), np.random.default_rng(7)
    X = random.standard_normal((NUM_FILES * ROWS_PER_FILE // 2, 16))
    rows = np.concatenate([X, X + 0.001]).astype(np.float32)
    for number in range(NUM_FILES):
        some = range(number, len(rows), NUM_FILES)
        table = pa.table({"id": [f"row-{row}" for row in some], "embedding": rows[list(some)].tolist()})
        pq.write_table(table, stream := io.BytesIO())
        folder.below("vectors").write_bytes(f"{number}.parquet", stream.getvalue())
    return folder


def test_each_stage_lists_each_folder_once(vectors: Folder, noting: Noting, context: RunContext) -> None:
    places = {name: vectors.below(name).url for name in ("vectors", "kmeans", "pairwise", "duplicates")}
    options: dict[str, Any] = {
        f"{which}_kwargs": {"storage_options": vectors.storage_options} for which in ("read", "write")
    }
    stages = [
        KMeansStage(CLUSTERS, input_path=places["vectors"], output_path=places["kmeans"], **options),
        PairwiseStage(input_path=places["kmeans"], output_path=places["pairwise"], **options),
        IdentifyDuplicatesStage(places["pairwise"], places["kmeans"], places["duplicates"], **options),
    ]
    found = {stage.name: [requests_of(stage, noting, context) for _ in range(2)] for stage in stages}
    removed = set(vectors.below("duplicates").read_bytes("remove.txt").decode().split())
    assert len(removed) == NUM_FILES * ROWS_PER_FILE // 2

    second = {name: runs[1] for name, runs in found.items()}
    assert {name: listed(requests) for name, requests in second.items()} == {
        "kmeans": {"vectors": 1, "kmeans": 1},
        "pairwise": {"kmeans": 1, "pairwise": 1},
        "identify": {"pairwise": 1, "kmeans": 1, "duplicates": 1},
    }
    for requests in second.values():
        assert collections.Counter(method for method, *_ in requests)["HEAD"] <= 1
    # Where workers write, the client looks again when they have done so; inputs it does not list again.
    first = {name: listed(runs[0]) for name, runs in found.items()}
    assert first["kmeans"]["vectors"] == 1
    assert first["pairwise"]["kmeans"] == 1
    assert first["identify"]["pairwise"] == first["identify"]["kmeans"] == 1
    assert first["kmeans"]["kmeans"] <= 5
    assert first["pairwise"]["pairwise"] <= 2
    assert first["identify"]["duplicates"] <= 5


def requests_of(stage: Any, noting: Noting, context: RunContext) -> list[tuple[str, str, str]]:
    """What a run of the stage asks for, on the client and on workers."""
    noting.seen.clear()
    stage.run(context=context)
    return list(noting.seen)


def listed(requests: list[tuple[str, str, str]]) -> dict[str, int]:
    """Folder below the job → how often it was listed."""
    prefixes = [parse_qs(query)["prefix"][0] for _, query, _ in requests if "list-type" in query]
    return dict(collections.Counter(prefix.partition("/")[2].rstrip("/") for prefix in prefixes))
