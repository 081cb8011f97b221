"""A glance in a notebook: names are escaped, pictures are inside, and no file is needed beside it."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.report.page.glance import MOST_PAIRS, glance_html
from tests.report.sample_report import HOSTILE, sample_report


class Elements(HTMLParser):
    """The elements of a text with their attributes, and what a reader reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts += data

    def sources(self) -> list[str | None]:
        return [attributes["src"] for tag, attributes in self.found if tag == "img"]


def test_names_are_escaped_and_nothing_runs(tmp_path: Path) -> None:
    seen = Elements(glance_html(sample_report(), Folder(str(tmp_path))))
    assert printable(HOSTILE) in seen.texts
    assert "script" not in {tag for tag, _ in seen.found}
    assert not [name for _, attributes in seen.found for name in attributes if name.startswith("on")]
    assert seen.sources() == [], "no preview is there"


def test_pairs_have_their_pictures_inside(tmp_path: Path) -> None:
    report = sample_report(MOST_PAIRS + 2)
    for clip in report["clips"].values():
        path = (tmp_path / "report" / clip["preview"]).resolve()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
    text = glance_html(report, Folder(str(tmp_path / "report")))
    inside = f"data:image/webp;base64,{base64.b64encode(b'picture').decode()}"
    assert Elements(text).sources() == [inside] * (2 * MOST_PAIRS)
    assert report["totals"]["line"] in Elements(text).texts.replace(",", "")
    assert "url(" not in text


def test_names_that_are_no_text_can_be_shown(tmp_path: Path) -> None:
    report = sample_report()
    clip = report["clips"]["kept-0"]
    clip["source"] = "a\udcff.mp4"
    assert r"a\xff.mp4" in glance_html(report, Folder(str(tmp_path)))


def test_nothing_removed_and_nothing_compared(tmp_path: Path) -> None:
    report = {**sample_report(), "groups": [], "sweep": []}
    text = glance_html(report, Folder(str(tmp_path)))
    assert report["totals"]["line"] in Elements(text).texts.replace(",", "")
    assert "<svg" not in text
