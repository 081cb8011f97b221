"""What a review shows: the page of the report with buttons, its data, clips and previews, and nothing else of the disk."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.report.page.data_blocks import clip_rows, index_block, list_blocks
from curator_dask.report.page.page_html import page_html
from curator_dask.report.page.safe_text import relative_url
from curator_dask.report.page.write import data_file

REPORT: Final = "report/report.json"
PAGE: Final = "report/index.html"


@dataclass(frozen=True)
class ReviewPages:
    """The pages of one report. Paths are those below the output folder."""

    out: Folder
    report: Mapping[str, Any]
    page: bytes
    lists: Mapping[str, dict[str, Any]]
    rows: Mapping[str, Any]
    """The clips as the page knows them."""
    media: frozenset[str]
    """Paths of the clips and previews that the report names: the only files that are given out."""

    def text(self, path: str) -> bytes | None:
        """The page itself or a file of its data; None for any other path."""
        if path == PAGE:
            return self.page
        name = path.removeprefix("report/data/").removesuffix(".js")
        if name not in self.lists or path != f"report/data/{name}.js":
            return None
        return data_file(name, self.lists[name], self.rows)

    def knows(self, clip_id: str) -> bool:
        """Whether a clip may be decided on: it is kept or removed, not plain or failed."""
        return clip_id in self.rows and self.rows[clip_id]["state"] in ("kept", "removed")


def read_pages(out: Folder) -> ReviewPages:
    """The pages of the report in an output folder. Raises InputError where there is none."""
    try:
        report = json.loads(out.read_bytes(REPORT))
    except FileNotFoundError as error:
        raise InputError(f"{out.url} holds no {REPORT}: run curator-dask inspect {out.url} first") from error
    except ValueError as error:
        raise InputError(
            f"{out.join(REPORT)} is damaged ({error}): make it anew with curator-dask inspect {out.url}"
        ) from error
    page = page_html(report, {"index": index_block(report)}, review=True).encode("utf-8", errors="replace")
    paths = (clip[name] for clip in report["clips"].values() for name in ("clip", "preview"))
    media = (posixpath.normpath(f"report/{path}") for path in paths if relative_url(path))
    inside = frozenset(path for path in media if not path.startswith(".."))
    return ReviewPages(out, report, page, list_blocks(report), clip_rows(report, relative_url), inside)
