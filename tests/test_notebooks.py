"""The notebooks run from top to bottom in a fresh kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

SHOWN = {
    "01_quickstart": ("<b>split</b>", "cosine_sim_score"),
    "02_dedup_your_own_vectors": ("<b>identify</b>", "nearest_kept_cosine", "<b>incremental</b>"),
}
NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")
def test_notebook(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    text = str([cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"])
    assert all(words in text for words in SHOWN[path.stem])


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == SHOWN.keys()
