"""The page in a real browser, opened from the disk: numbers, playing in step, hostile names, no network, colours, keys.

One module, as a running Playwright keeps the event loop of the thread for itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from curator_dask.files.folder import Folder
from curator_dask.report.page.write import write_page
from curator_dask.report.review.overrides import Override, read_overrides
from curator_dask.report.review.server import ReviewServer
from tests.left_out import NO_BROWSER
from tests.report.sample_report import HOSTILE, OFFSET_S, render_clips, sample_report, serving

OpenPage = Callable[..., Page]


def find_browser() -> str:
    """Chromium or Chrome; Debian's Chromium is installed where it is missing and this user may install it."""
    found = on_the_path() or (may_install() and install() and on_the_path())
    if not found:
        pytest.skip(NO_BROWSER)
    return found


def on_the_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> bool:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=variables, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--mute-audio"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a page of its own files, and one whose lists lie beside it."""
    folder = tmp_path_factory.mktemp("page") / "out"
    render_clips(folder)
    write_page(sample_report(), Folder(str(folder / "report")), embed_previews=True)
    write_page(sample_report(430), Folder(str(folder / "large")), embed_previews=False)
    return folder


@pytest.fixture
def open_page(browser: Browser, out: Path) -> Iterator[OpenPage]:
    """Opens a page and, at the end, fails if it asked for anything but files, wrote an error or showed a dialog."""
    trouble: list[str] = []
    contexts = []

    def opened(name: str = "report", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: asked.url.startswith(("file://", "data:")) or trouble.append(asked.url))
        page.goto((out / name / "index.html").as_uri())
        page.wait_for_selector(".segment")
        page.wait_for_selector("#groups-list .group")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not trouble


def wait_until(page: Page, expression: str, seconds: float = 8.0) -> None:
    """As Playwright's wait_for_function, which the policy of the page does not allow."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s this is still not so: {expression}")
        page.wait_for_timeout(30)


def videos(page: Page) -> list[dict[str, Any]]:
    """The time of each video of the player, whether it is paused, and how wide its picture is."""
    return page.evaluate(
        "[...document.querySelectorAll('video')].map(v => ({at: v.currentTime, paused: v.paused, width: v.videoWidth}))"
    )


def play_first_removed(page: Page) -> None:
    page.locator("#groups-list .strip.removed").first.click()
    wait_until(
        page, "[...document.querySelectorAll('video')].filter(v => !v.paused && v.currentTime > 0.3).length === 2"
    )


def test_numbers_are_those_of_the_report(open_page: OpenPage) -> None:
    page, report = open_page(), sample_report()
    assert (page.locator("#totals").text_content() or "").replace(",", "") == report["totals"]["line"]
    for state in ("kept", "removed", "plain", "failed"):
        assert int(page.get_attribute(f"#tile-{state}", "data-value") or "") == report["totals"][state]
        assert page.locator(f"#tile-{state}").text_content() == f"{report['totals'][state]:,}"
    assert page.locator("#tile-orphans").text_content() == "7"
    shown = {each.get_attribute("data-why"): each.text_content() for each in page.locator("[data-why]").all()}
    counts = {f"{key}:{name}": str(n) for key, found in report["removed_by"].items() for name, n in found.items()}
    assert shown == counts
    rows = page.locator("#chart-eps tbody tr").all()
    cells = [[cell.text_content() for cell in row.locator("td").all()[:3]] for row in rows]
    assert cells == [[f"{row['eps']:g}", f"{row['kept']:,}", f"{row['removed']:,}"] for row in report["sweep"]]
    assert page.locator(".chart svg").count() == 6
    assert "23" in (page.locator("#plain-list").text_content() or "")
    assert "11" in (page.locator("#failures-list").text_content() or "")
    assert page.locator("#groups-list .row.kept").count() == len(report["groups"])
    assert page.locator("#groups-list .row.removed").count() == report["totals"]["removed"]
    assert page.locator("#sources-list .segment.removed").count() == report["totals"]["removed"]


def test_kept_clip_comes_first_and_strips_lie_at_their_offset(open_page: OpenPage) -> None:
    page = open_page()
    strips = page.locator("#groups-list .group").first.locator(".strip").all()
    kept, removed = (strip.bounding_box() for strip in strips)
    assert kept is not None
    assert removed is not None
    assert kept["y"] < removed["y"]
    # Both last 4 s, the removed one begins 1.5 s later.
    assert removed["x"] - kept["x"] == pytest.approx(-OFFSET_S / 4 * kept["width"], abs=2)


def test_click_plays_both_in_step(open_page: OpenPage) -> None:
    page = open_page()
    play_first_removed(page)
    page.wait_for_timeout(500)
    kept, removed = videos(page)
    assert removed["at"] - kept["at"] == pytest.approx(OFFSET_S, abs=0.1)
    assert kept["width"] == removed["width"] == 160
    page.locator("#play").click()
    kept, removed = videos(page)
    assert kept["paused"]
    assert removed["paused"]
    assert removed["at"] - kept["at"] == pytest.approx(OFFSET_S, abs=0.002)


def test_scrubbing_moves_both_and_holds_one_that_shows_nothing_then(open_page: OpenPage) -> None:
    page = open_page()
    play_first_removed(page)
    for moment, shown in ((3.0, [3.0, 1.5]), (0.5, [0.5, 0.0]), (5.0, [4.0, 3.5])):
        page.locator("#scrub").fill(str(moment))
        assert [video["at"] for video in videos(page)] == pytest.approx(shown, abs=0.1)
    assert page.locator("#stage .kept.outside").count() == 1
    assert page.locator("#stage .removed.outside").count() == 0


def test_both_play_to_the_end_of_the_later_one(open_page: OpenPage) -> None:
    page = open_page()
    play_first_removed(page)
    page.locator("#scrub").fill("3.6")
    page.locator("#play").click()
    wait_until(page, "document.querySelector('#play').textContent === 'Play'")
    assert float(page.input_value("#scrub")) == pytest.approx(5.5, abs=0.15)


def test_hostile_name_is_only_a_name(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(".segment.removed").first.click()
    page.locator("#sources-list .panel .strip").first.wait_for()
    assert page.locator("img").count() == 0
    assert page.locator("main script").count() == 0
    names = page.locator("#groups-list .name").all_text_contents()
    assert all(name.endswith(HOSTILE.split("/")[-1].replace("\u202e", "\\u202e")) for name in names)
    assert page.title().startswith(f"out {HOSTILE}")
    play_first_removed(page)  # its file has that name, too


def test_policy_stops_every_way_out(browser: Browser, out: Path) -> None:
    """A script that got into the page could load nothing and tell nobody."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    page = browser.new_page()
    try:
        page.goto((out / "report" / "index.html").as_uri())
        page.evaluate(
            """async (url) => {
                new Image().src = url + 'image';
                document.head.append(Object.assign(document.createElement('script'), {src: url + 'script'}));
                document.body.append(Object.assign(document.createElement('iframe'), {src: url + 'frame'}));
                document.body.append(Object.assign(document.createElement('video'), {src: url + 'video'}));
                document.body.append(Object.assign(document.createElement('button'), {id: 'evil'}));
                document.getElementById('evil').setAttribute('onclick', `new Image().src='${url}handler'`);
                document.getElementById('evil').click();
                await fetch(url + 'fetch').catch(() => {});
                navigator.sendBeacon(url + 'beacon');
            }""",
            f"http://127.0.0.1:{server.server_port}/",
        )
        page.wait_for_timeout(300)
    finally:
        page.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == []


def ground(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_colours_follow_the_system_and_the_switch(open_page: OpenPage) -> None:
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    assert ground(light) == "rgb(246, 246, 242)"
    assert ground(dark) == "rgb(17, 20, 23)"
    for page, wanted in ((light, "dark"), (dark, "light")):
        while page.locator("#theme").text_content() != f"Colours: {wanted}":
            page.locator("#theme").click()
    assert ground(light) == "rgb(17, 20, 23)"
    assert ground(dark) == "rgb(246, 246, 242)"


def test_keys_are_enough(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    for key in "jjk":
        page.keyboard.press(key)
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.clip") == "removed-0-0"
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('#play').textContent === 'Pause'")
    page.keyboard.press("Space")
    assert [video["paused"] for video in videos(page)] == [True, True]
    before = [video["at"] for video in videos(page)]
    page.keyboard.press("ArrowRight")
    assert [video["at"] for video in videos(page)] == pytest.approx([at + 1 for at in before], abs=0.05)
    page.keyboard.press("Escape")
    assert page.locator("#player").is_hidden()
    assert page.evaluate("document.activeElement.dataset.clip") == "removed-0-0"


def test_piece_of_a_timeline_leads_to_its_twins_and_group(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("[data-segment='removed-1-0']").click()
    panel = page.locator("#sources-list .panel:visible")
    shown = [strip.get_attribute("data-clip") for strip in panel.locator(".strip").all()]
    assert shown == ["kept-1", "removed-1-0"]
    panel.get_by_text("To group 2").click()
    assert page.locator("#groups-list .group").count() == 1
    assert page.locator("#group-1").is_visible()
    page.locator("#only").click()
    assert page.locator("#groups-list .group").count() == 2


def test_name_of_a_video_leads_to_a_page_of_its_own(open_page: OpenPage) -> None:
    """All of its clips with their twins, by an address that can be sent; a twin's name leads to the page of its video."""
    page = open_page()
    page.locator("#groups-list [data-row=kept-1] .name a").click()
    wait_until(page, "document.querySelectorAll('#sources-list .source').length === 1")
    assert page.url.endswith("#video-2")
    wait_until(page, "document.querySelectorAll('#sources-list .clip').length === 2")
    headings = page.locator("#sources-list .clip h4").all_text_contents()
    assert headings == ["0:00 – 0:04, kept", "0:04 – 0:08, removed"]
    shown = [strip.get_attribute("data-clip") for strip in page.locator("#sources-list .clip .strip").all()]
    assert shown == ["kept-1", "removed-1-0"] * 2
    page.reload()
    wait_until(page, "document.querySelectorAll('#sources-list .clip').length === 2")
    page.locator("#only-video").click()
    wait_until(page, "document.querySelectorAll('#sources-list .source').length === 2")
    assert page.locator("#sources-list .clip").count() == 0


def test_page_of_a_long_video_grows(browser: Browser, tmp_path: Path) -> None:
    write_page(sample_report(1, 30), Folder(str(tmp_path / "report")), embed_previews=True)
    page = browser.new_page()
    page.goto((tmp_path / "report" / "index.html").as_uri() + "#video-1")
    wait_until(page, "document.querySelectorAll('#sources-list .clip').length === 10")
    for number in (20, 30, 31):
        page.locator("#sources-list .panel > button").click()
        wait_until(page, f"document.querySelectorAll('#sources-list .clip').length === {number}")
    assert page.locator("#sources-list .panel > button").count() == 0
    page.close()


def test_large_page_loads_its_lists_as_they_are_looked_at(open_page: OpenPage) -> None:
    page, report = open_page("large"), sample_report(430)
    assert page.locator("#groups-found").text_content() == "430 groups"
    assert page.evaluate("document.querySelectorAll('script[src*=groups]').length") == 1
    page.locator("#groups-more").click()
    wait_until(page, "document.querySelectorAll('#groups-list .group').length === 20")
    page.locator("input[name=pair][value=same]").check(force=True)
    same = sum(pair["same_source"] for group in report["groups"] for pair in group["removed"])
    wait_until(page, f"document.getElementById('groups-found').textContent === '{same} groups'")
    page.locator("#kind").select_option("still")
    both = [at for at in range(430) if at % 3 == 1 and at % 2]
    wait_until(page, f"document.getElementById('groups-found').textContent === '{len(both)} groups'")
    page.locator("#search").fill("kept-427 ")
    page.wait_for_selector("#group-427")
    assert page.locator("#groups-list .group").count() == 1
    play_first_removed(page)


def test_large_page_opens_without_its_groups(browser: Browser, tmp_path: Path) -> None:
    """100,000 clips in 2,000 groups and videos: the page itself stays small, and shows the first groups."""
    write_page(sample_report(2_000, 49), Folder(str(tmp_path / "report")), embed_previews=False)
    assert (tmp_path / "report" / "index.html").stat().st_size < 2_000_000
    page = browser.new_page()
    start = time.perf_counter()
    page.goto((tmp_path / "report" / "index.html").as_uri())
    page.wait_for_selector(".segment")
    page.wait_for_selector("#groups-list .group")
    print(f"open after {time.perf_counter() - start:.2f} s")
    assert 0 < page.locator("#groups-list .group").count() < 2_000
    page.close()


def test_phone_shows_all_without_scrolling_sideways(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    page.locator("#groups-list .strip.removed").first.tap()
    page.wait_for_selector("#player[open]")
    assert page.evaluate("document.getElementById('player').scrollWidth") <= 360


def test_removed_clip_without_a_kept_one_stands_alone(browser: Browser, tmp_path: Path) -> None:
    report = sample_report()
    (pair,) = report["groups"][1]["removed"]
    pair |= {"kept_id": None, "kept_ids": [], "offset_s": None, "cover": None, "kind": None, "reason": "override"}
    write_page(report, Folder(str(tmp_path / "report")), embed_previews=True)
    page = browser.new_page()
    page.goto((tmp_path / "report" / "index.html").as_uri())
    page.locator("#group-1 .strip").first.wait_for()
    assert "removed by hand" in (page.locator("#group-1 [data-row=removed-1-0]").text_content() or "")
    page.close()


def test_clip_whose_file_is_gone_is_said_to_be(browser: Browser, tmp_path: Path) -> None:
    write_page(sample_report(), Folder(str(tmp_path / "report")), embed_previews=True)
    page = browser.new_page()
    page.goto((tmp_path / "report" / "index.html").as_uri())
    page.locator("#groups-list .strip.removed").first.click()
    page.wait_for_selector("#stage .missing:visible")
    assert page.locator("#stage .missing:visible").count() == 2
    page.close()


def test_everything_that_can_be_pressed_has_a_name(open_page: OpenPage) -> None:
    page = open_page()
    controls = "[...document.querySelectorAll('button, input, select')]"
    named = "e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim()"
    assert page.evaluate(f"{controls}.filter(e => !({named})).length") == 0


@pytest.fixture
def review(out: Path) -> Iterator[ReviewServer]:
    (out / "report" / "report.json").write_text(json.dumps(sample_report()))
    with serving(out) as server:
        yield server
    (out / "overrides.csv").unlink(missing_ok=True)


def test_review_says_what_the_server_refuses(browser: Browser, review: ReviewServer, out: Path) -> None:
    page = browser.new_page()
    page.goto(review.url)
    (out / "overrides.csv").write_text("id,decision\nkept-0,keep\nkept-0,remove\n")
    page.locator("#groups-list [data-row=removed-0-0]").get_by_text("Keep", exact=True).click()
    wait_until(page, "document.querySelector('#review-trouble').textContent !== ''")
    words = page.locator("#review-trouble").text_content() or ""
    assert "line 3 decides remove on 'kept-0'" in words
    assert "still running" not in words
    page.close()


def test_review_keeps_removes_and_takes_back(browser: Browser, review: ReviewServer, out: Path) -> None:
    trouble: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(review.url.split("report/")[0]) or trouble.append(asked.url))
    page.goto(review.url)
    page.locator("#groups-list [data-row=removed-0-0]").get_by_text("Keep", exact=True).click()
    wait_until(page, "document.querySelector('#groups-list [data-row=removed-0-0] .badge').textContent === 'kept'")
    assert page.locator("#groups-list [data-row=removed-0-0] .strip.kept").count() == 1
    page.locator("#groups-list [data-row=removed-0-0] input").fill("sharper")
    page.locator("#groups-list [data-row=removed-0-0] input").press("Tab")
    page.locator("#groups-list [data-row=kept-0] .strip").focus()
    page.keyboard.press("-")
    wait_until(page, "document.querySelector('#groups-list [data-row=kept-0] .badge').textContent === 'removed'")
    file = str(out / "overrides.csv")
    assert read_overrides(file) == {"removed-0-0": Override("keep", "sharper"), "kept-0": Override("remove")}
    page.reload()
    wait_until(page, "document.querySelectorAll('#groups-list [data-row=kept-0] .badge.removed').length === 1")
    assert "1 clip to keep and 1 to remove" in (page.locator("#review-count").text_content() or "")
    page.locator("#groups-list [data-row=kept-0]").get_by_text("Undo", exact=True).click()
    wait_until(page, "document.querySelector('#groups-list [data-row=kept-0] .badge').textContent === 'kept'")
    assert read_overrides(file).keys() == {"removed-0-0"}
    play_first_removed(page)
    page.locator("#scrub").fill("3")
    wait_until(page, "Math.abs(document.querySelector('video').currentTime - 3) < 0.1")
    page.close()
    assert not trouble
