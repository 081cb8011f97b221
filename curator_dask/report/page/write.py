"""Write the page of a report: one file that holds all, or a page with a folder of data beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curator_dask.files.folder import Folder
from curator_dask.report.page.data_blocks import clip_rows, index_block, list_blocks
from curator_dask.report.page.page_html import page_html
from curator_dask.report.page.previews import EmbeddedPreviews
from curator_dask.report.page.safe_text import relative_url, script_json

PAGE = "index.html"


def write_page(report: Mapping[str, Any], folder: Folder, *, embed_previews: bool) -> None:
    """Write ``index.html`` into the folder of ``report.json``.

    With `embed_previews` the page is one file that holds all data and previews; clips are played by their relative
    path. Without it, the lists are files in ``data/``, which the page loads when they are looked at. Data of an
    earlier page that this one does not have is removed.
    """
    blocks = {"index": index_block(report)}
    lists = list_blocks(report)
    if embed_previews:
        blocks["clips"] = clip_rows(report, EmbeddedPreviews(folder).url)
        blocks |= lists
        lists = {}
    _write_lists(lists, clip_rows(report, relative_url) if lists else {}, folder)
    folder.write_bytes(PAGE, page_html(report, blocks).encode("utf-8", errors="replace"))


def _write_lists(lists: Mapping[str, dict[str, Any]], clips: Mapping[str, Any], folder: Folder) -> None:
    stale = {entry.path for entry in folder.entries("data", max_depth=1)}
    for name, block in lists.items():
        folder.write_bytes(f"data/{name}.js", data_file(name, block, clips))
    for path in sorted(stale - {f"data/{name}.js" for name in lists}):
        folder.remove(path)


def data_file(name: str, block: Mapping[str, Any], clips: Mapping[str, Any]) -> bytes:
    """A file of ``data/``: a script that hands one block to the page, with the clips that the block names."""
    named = {clip_id: clips[clip_id] for clip_id in block["clip_ids"] if clip_id in clips}
    content = script_json({**block, "clip_ids": None, "clips": named})
    return f'curatorChunk("{name}",{content});\n'.encode("ascii")
