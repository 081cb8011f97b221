"""No process of a run imports pandas, and whoever uses it finds Arrow as it would be otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.stages import builders

BEGIN = """
import sys
import pyarrow as pa
from curator_dask.runtime.starting.late_pandas import leave_pandas_for_later
leave_pandas_for_later()
assert pa.array([1, 2]).to_numpy().tolist() == [1, 2]
assert "pandas" not in sys.modules
"""
SERIES = "import pandas as pd; assert pa.array(pd.Series([1, None])).null_count == 1"
PROGRAMS = {
    "a series": SERIES,
    "a frame": "import pandas as pd; assert pa.table(pd.DataFrame({'a': [1, 2]}))['a'].to_pylist() == [1, 2]",
    "to pandas": "assert pa.table({'a': [1, 2]}).to_pandas()['a'].tolist() == [1, 2]",
    "to pandas, then a series": f"pa.array([1]).to_pandas(); {SERIES}",
    "twice": f"leave_pandas_for_later(); {SERIES}",
    "after pandas": f"import pandas; leave_pandas_for_later(); {SERIES}",
    "resources": "import pandas, importlib.resources as files; assert files.files('pandas').joinpath('io').is_dir()",
}
RUN = """
import sys
from curator_dask import IdentifyDuplicatesStage, KMeansStage, PairwiseStage
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext

def has_pandas():
    return "pandas" in sys.modules

if __name__ == "__main__":
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
        KMeansStage(2, input_path="v", output_path="k").run(context=RunContext(cluster))
        PairwiseStage(input_path="k", output_path="p").run(context=RunContext(cluster))
        IdentifyDuplicatesStage(input_path="p", output_path="d", kmeans_path="k").run(context=RunContext(cluster))
        print(has_pandas(), *cluster.client.run(has_pandas).values())
"""


def run(program: str, folder: Path) -> str:
    path = folder / "program.py"
    path.write_text(program)
    return subprocess.run([sys.executable, str(path)], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_arrow_knows_pandas_as_soon_as_somebody_uses_it(program, tmp_path):
    run(BEGIN + program + "\nassert 'pandas' in sys.modules", tmp_path)


def test_deduplication_imports_no_pandas(tmp_path):
    X = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    builders.write_vectors(tmp_path / "v" / "a.parquet", [f"c{row}" for row in range(60)], X)
    assert run(RUN, tmp_path).split() == ["False", "False"]
    assert len((tmp_path / "d" / "keep.txt").read_text().splitlines()) == 60
