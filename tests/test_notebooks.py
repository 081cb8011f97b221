"""The notebooks run from top to bottom in a fresh kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SHOWN = {
    "01_quickstart": ("<b>split</b>", "cosine_sim_score", "data:image/webp", "<svg", "videos in "),
    "02_dedup_your_own_vectors": ("<b>identify</b>", "nearest_kept_cosine", "<b>incremental</b>"),
    "03_inspect": ("data:image/webp", "kept_seconds", "scene_1_scaled.mkv", "8 clips = 5 kept + 3 removed"),
    "04_on_a_cluster": ("4 clips = 2 kept + 2 removed", "these workers have: cpu", "<b>inspect</b>"),
}
SMALLER = "from curator_dask.video import samples\nsamples.WIDTH, samples.HEIGHT = 320, 180"
"""The sample videos of a notebook with a quarter of the pixels, as most of its time goes into them."""
ONE_WORKER = ("ClusterSettings(n_workers=2)", "ClusterSettings(n_workers=1)")
"""One worker in place of two, as to start one takes longer than all that a notebook has to do."""
NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.timeout(900)  # a kernel of its own starts workers of its own, which takes minutes on a busy machine
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")
def test_notebook(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(*ONE_WORKER)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALLER))
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    text = str([cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"])
    assert all(words in text for words in SHOWN[path.stem])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_left_out(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == SHOWN.keys()
