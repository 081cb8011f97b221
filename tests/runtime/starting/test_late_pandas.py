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
    "asked whether it is there": f"import importlib.util; assert importlib.util.find_spec('pandas'); {SERIES}",
    "after pandas": f"import pandas; leave_pandas_for_later(); {SERIES}",
    "resources": "import pandas, importlib.resources as files; assert files.files('pandas').joinpath('io').is_dir()",
}
NANOSECONDS = "import pyarrow as pa; assert pa.scalar(1, pa.timestamp('ns')).as_py().nanosecond == 1"
ITERATING = """
import importlib.util
first, *others = sys.meta_path
finders = iter(sys.meta_path)
assert next(finders) is first  # as another thread goes through them
importlib.util.find_spec("pandas")
import pandas
assert not set(map(id, others)) - set(map(id, finders))
"""
KMEANS = f"""
from curator_dask import KMeansStage
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext

def has_pandas():
    import sys
    return "pandas" in sys.modules

if __name__ == "__main__":
    with LazyCluster(ClusterSettings(device="cpu", n_workers=1, dashboard=False)) as cluster:
        KMeansStage(2, input_path="v", output_path="k").run(context=RunContext(cluster))
        print(*cluster.client.run(has_pandas).values())
    {NANOSECONDS}
"""
COMMANDS = """
import sys
from curator_dask.cli.app import app

COMMON = ["--device", "cpu", "--n-workers", "1", "--quiet"]

def command(*words):
    app([*words, *COMMON], standalone_mode=False)
    assert "pandas" not in sys.modules, words

if __name__ == "__main__":
    command("kmeans", "--n-clusters", "2", "--input-path", "v", "--output-path", "k")
    command("pairwise", "--input-path", "k", "--output-path", "p")
    command("identify", "--input-path", "p", "--kmeans-path", "k", "--output-path", "d")
"""


def run(program: str, folder: Path) -> str:
    path = folder / "program.py"
    path.write_text(program)
    return subprocess.run([sys.executable, str(path)], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_arrow_knows_pandas_as_soon_as_somebody_uses_it(program, tmp_path):
    run(BEGIN + program + "\nassert 'pandas' in sys.modules", tmp_path)


@pytest.fixture
def folder(tmp_path):
    """A folder with 60 vectors."""
    X = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    builders.write_vectors(tmp_path / "v" / "a.parquet", [f"c{row}" for row in range(60)], X)
    return tmp_path


def test_commands_import_no_pandas(folder):
    run(COMMANDS, folder)
    assert len((folder / "d" / "keep.txt").read_text().splitlines()) == 60


def test_local_workers_import_no_pandas_and_callers_of_the_library_find_arrow_as_it_was(folder):
    assert run(KMEANS, folder).split() == ["False"]


def test_modules_are_found_while_another_thread_looks_for_pandas(tmp_path):
    run(BEGIN + ITERATING, tmp_path)
