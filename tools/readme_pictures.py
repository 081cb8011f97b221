"""Make both pictures of the README from a real run: the page of its report, and the terminal at its end.

    python -m tools.readme_pictures ../shared/videos/real/bbb_30s_vp8_vorbis.webm

Two edited copies of the film are made, and all three are run. The terminal shows a run on ``curator-dask samples``. Nothing
is drawn or styled afterwards. It needs Chromium or Chrome.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ROWS_SHOWN = 6
"""The picture of the page ends below so many clips of the first group."""
COLUMNS = 120
FONTS = "font-family: 'Fira Code', 'DejaVu Sans Mono', Menlo, Consolas, monospace"
COPIES = {
    "bunny trailer (re-upload).mp4": ("-ss", "3.7", "-vf", "scale=480:-2", "-crf", "30"),
    "bunny_faded.mp4": ("-t", "22", "-vf", "eq=contrast=0.75:brightness=0.08:saturation=0.35", "-crf", "24"),
}
"""What an upload, and an editor, make of a film."""


def main(film: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_copies(Path(film), folder / "film" / "videos")
        curator_dask(folder / "film", "run", "--video-dir", "videos", "--output-path", "out")
        picture_page(folder / "film" / "out" / "report" / "index.html", IMAGES / "report.png")
        curator_dask(folder, "samples", "videos")
        told = curator_dask(folder, "run", "--video-dir", "videos", "--output-path", "out")
    command = "curator-dask run --video-dir videos --output-path out"
    (IMAGES / "terminal.svg").write_text(terminal_svg(command, told), encoding="utf-8")
    print(f"wrote {IMAGES}/report.png and terminal.svg")


def make_copies(film: Path, folder: Path) -> None:
    from curator_dask.video.process.ffmpeg import ffmpeg_path

    folder.mkdir(parents=True)
    shutil.copyfile(film, folder / f"bunny{film.suffix}")
    for name, how in COPIES.items():
        command = [ffmpeg_path(), "-v", "error", "-i", str(film), *how, "-c:v", "libx264", str(folder / name)]
        subprocess.run(command, check=True)


def curator_dask(folder: Path, *command: str) -> str:
    """What a command prints on stdout; its progress goes on to this terminal."""
    started = [sys.executable, "-m", "curator_dask", *command]
    return subprocess.run(started, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def picture_page(page_file: Path, picture: Path) -> None:
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the PATH: install Chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = launched.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        rows = page.locator("#groups-list .row")
        rows.nth(ROWS_SHOWN - 1).wait_for()
        page.wait_for_timeout(500)  # the strips of the first screen are pictures that are decoded now
        box = rows.nth(ROWS_SHOWN - 1).bounding_box()
        height = round(box["y"] + box["height"]) + 12 if box else 900
        page.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": 1200, "height": height})
        launched.close()


def terminal_svg(command: str, told: str) -> str:
    """A terminal in which a command was run. Its letters come from the machine that shows it: no font is fetched."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text(told.rstrip()))
    svg = console.export_svg(title=" ".join(command.split()[:2]), unique_id="curator")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace", FONTS)


if __name__ == "__main__":
    main(*sys.argv[1:])
