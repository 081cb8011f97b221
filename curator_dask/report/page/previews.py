"""Previews for the page: as data inside it, or by their path."""

from __future__ import annotations

import base64
import posixpath
from typing import Final

from curator_dask.files.folder import Folder
from curator_dask.report.page.safe_text import relative_url

MOST_EMBEDDED_BYTES: Final = 40_000_000
"""The most bytes of pictures inside one page; further ones go by their paths."""


class EmbeddedPreviews:
    """Previews as data URLs, as long as the page does not grow too large. A file that is not there gives none."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.bytes_left = MOST_EMBEDDED_BYTES

    def url(self, path: str) -> str | None:
        where, name = beside(self.folder, path)
        try:
            data = where.read_bytes(name)
        except FileNotFoundError:
            return None
        self.bytes_left -= len(data)
        if self.bytes_left < 0:
            return relative_url(path)
        return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"


def beside(folder: Folder, path: str) -> tuple[Folder, str]:
    """The folder above that a path such as ``../previews/a.webp`` begins in, and the rest of the path."""
    url = folder.url.rstrip("/") if "://" in folder.url else folder.root
    while path.startswith("../"):
        url, path = posixpath.dirname(url), path.removeprefix("../")
    return Folder(url, folder.storage_options), path
