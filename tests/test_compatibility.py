"""A script for the original workflow, with only its import lines changed. Its calls need no `__main__` guard either."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import CuratorError, KMeansStage, PairwiseStage

SCRIPT = """
from curator_dask import Pipeline
from curator_dask import KMeansStage, PairwiseStage

INPUT_PARQUET = "embeddings"
OUTPUT_DIR = "dedup"

pipe = Pipeline(name="video_semantic_dedup", description="K-means + pairwise duplicate removal")
pipe.add_stage(
    KMeansStage(
        n_clusters=1000,
        id_field="id",
        embedding_field="embedding",
        input_path=INPUT_PARQUET,
        output_path=f"{OUTPUT_DIR}/kmeans",
        input_filetype="parquet",
        input_file_extensions=[".parquet"],
        embedding_dim=512,
        embedding_output_dtype="float32",
        read_kwargs={"storage_options": None},
        write_kwargs={"storage_options": None},
    )
)
pipe.add_stage(
    PairwiseStage(
        id_field="id",
        embedding_field="embedding",
        input_path=f"{OUTPUT_DIR}/kmeans",
        output_path=f"{OUTPUT_DIR}/pairwise",
        which_to_keep="hard",
        sim_metric="cosine",
        pairwise_batch_size="auto",
        compute_dtype="float16",
        read_kwargs={"storage_options": None},
        write_kwargs={"storage_options": None},
    )
)
pipe.run()
"""


def test_the_script_runs_as_it_is(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((1200, 512)).astype(np.float32)
    X[600:] = X[:600]
    (tmp_path / "embeddings").mkdir()
    table = pa.table({"id": [f"clip-{i}" for i in range(1200)], "embedding": X.tolist()})
    pq.write_table(table, tmp_path / "embeddings" / "part-0.parquet")
    (tmp_path / "embeddings" / "old.pq").write_text("no Parquet file, and not chosen by its ending")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    tables = [pq.read_table(path) for path in (tmp_path / "dedup" / "pairwise").glob("cluster_*.parquet")]
    scores = pa.concat_tables(tables).to_pydict()
    assert len(scores["id"]) == 1200
    assert sum(score >= 0.99 for score in scores["cosine_sim_score"]) == 600
    assert (tmp_path / "dedup" / "kmeans" / "_kmeans_centroids.npy").exists()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"embedding_output_dtype": "int8"}, "embedding_output_dtype ('int8') must be one of auto, float16, float32"),
        ({"input_file_extensions": ".pq"}, "input_file_extensions ('.pq') must be a list"),
        ({"input_file_extensions": [""]}, "must be endings of file names"),
        ({"input_file_extensions": ["PQ", ".txt"]}, "no parquet files with the ending .pq or .txt to read"),
    ],
)
def test_wrong_values_of_its_newer_parameters_are_named(
    tmp_path: Path, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(CuratorError, match=re.escape(words)):
        _ = KMeansStage(input_path=str(tmp_path), output_path="x", **parameters).files.entries()


def test_the_number_type_of_pairwise_is_checked() -> None:
    with pytest.raises(CuratorError, match=r"compute_dtype \('half'\) must be one of auto, float16, float32"):
        PairwiseStage(input_path="a", output_path="b", compute_dtype="half")
