"""The server of a review as other programs see it: what it gives out, to whom, and what it writes."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from curator_dask import InputError
from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override, read_overrides
from curator_dask.report.review.pages import read_pages
from curator_dask.report.review.server import ReviewServer
from tests.report.sample_report import HOSTILE_FILE, sample_report, serving


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder with clips that are no videos: only their bytes matter here."""
    for name in ("report", "clips", "previews"):
        (tmp_path / "out" / name).mkdir(parents=True)
    report = sample_report()
    report["clips"]["kept-0"]["preview"] = "../../secret"
    report["clips"]["kept-1"]["clip"] = "/etc/passwd"
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "out" / "report" / "report.json").write_text(json.dumps(report))
    (tmp_path / "out" / "clips" / HOSTILE_FILE).write_bytes(bytes(range(200)))
    (tmp_path / "out" / "run.json").write_text("{}")
    return tmp_path / "out"


@pytest.fixture
def server(out: Path) -> Iterator[ReviewServer]:
    with serving(out) as made:
        yield made


def ask(server: ReviewServer, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """An answer; `path` is that behind the token, unless it begins with a slash. A header of '' is left out."""
    host = f"127.0.0.1:{server.server_port}"
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
    change = {"Origin": f"http://{host}", "Content-Type": "application/json", "Content-Length": str(len(data))}
    given = {"Host": host, **(change if body else {})}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    path = path if path.startswith("/") else f"/{urlsplit(server.url).path.split('/')[1]}/{path}"
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("POST" if body else "GET", path, skip_host=True)
    for name, value in given.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(data)
    with connection.getresponse() as answer:
        found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_it_listens_on_this_machine_only_and_every_link_differs(out: Path) -> None:
    pages = read_pages(Folder(str(out)))
    with ReviewServer(pages) as one, ReviewServer(pages) as other:
        assert one.server_address[0] == other.server_address[0] == "127.0.0.1"
        tokens = [urlsplit(server.url).path.split("/")[1] for server in (one, other)]
        assert tokens[0] != tokens[1]
        assert min(map(len, tokens)) >= 32
        with pytest.raises(InputError, match="give another --port"):
            ReviewServer(pages, one.server_port)


def test_page_may_speak_with_its_own_server_only(server: ReviewServer) -> None:
    status, page, headers = ask(server, "report/index.html")
    assert status == 200
    assert b"connect-src &#39;self&#39;" in page
    assert b"<img" not in page
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert ask(server, "report/data/groups-0.js")[1].startswith(b"curatorChunk(")


@pytest.mark.parametrize(
    "path",
    [
        "/", "/report/index.html", "/wrong/report/index.html", "run.json", "overrides.csv", "report/report.json",
        "../secret", "%2e%2e/secret", "clips/../run.json", "/etc/passwd", "//etc/passwd", "clips/",
        "report/data/../../run.json", "report/data/nothing.js", "",
    ],
)  # fmt: skip
def test_only_what_the_report_names_is_given_out(server: ReviewServer, path: str) -> None:
    status, content, _ = ask(server, path)
    assert status in (403, 404)
    assert b"secret" not in content


def test_clips_are_given_out_in_parts(server: ReviewServer) -> None:
    path = f"clips/{quote(HOSTILE_FILE, safe='')}"
    whole = bytes(range(200))
    assert ask(server, path)[:2] == (200, whole)
    for header, start, stop in (("bytes=10-19", 10, 20), ("bytes=190-", 190, 200), ("bytes=-5", 195, 200)):
        status, content, headers = ask(server, path, Range=header)
        assert (status, content) == (206, whole[start:stop])
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/200"
    assert ask(server, path, Range="bytes=500-")[0] == 200


def test_decisions_are_written_and_taken_back(server: ReviewServer, out: Path) -> None:
    file = str(out / "overrides.csv")
    status, content, _ = ask(server, "overrides", {"id": "removed-0-0", "decision": "keep", "note": "=sharper"})
    assert status == 200
    assert json.loads(content) == {"overrides": {"removed-0-0": {"decision": "keep", "note": "=sharper"}}}
    (out / "overrides.csv").write_text("id,decision,note\nremoved-0-0,keep,\nby-an-editor,remove,mine\n")
    ask(server, "overrides", {"id": "kept-1", "decision": "remove"})
    wanted = {"removed-0-0": Override("keep"), "by-an-editor": Override("remove", "mine"), "kept-1": Override("remove")}
    assert read_overrides(file) == wanted
    ask(server, "overrides", {"id": "removed-0-0", "decision": None})
    assert read_overrides(file) == {name: one for name, one in wanted.items() if name != "removed-0-0"}
    assert json.loads(ask(server, "overrides")[1])["overrides"].keys() == {"kept-1"}
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_many_at_once_lose_none(server: ReviewServer, out: Path) -> None:
    names = ["kept-0", "kept-1", "removed-0-0", "removed-1-0"]
    threads = [
        threading.Thread(target=ask, args=(server, "overrides", {"id": name, "decision": "remove"})) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_overrides(str(out / "overrides.csv"))) == names


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": ""}, {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"}, {"sec_fetch_site": "same-site"},
        {"Content_Type": "text/plain"}, {"Content_Type": "application/x-www-form-urlencoded"}, {"Content_Type": ""},
        {"Content_Length": "99999"}, {"Content_Length": "-1"}, {"Content_Length": ""},
    ],
    ids=str,
)  # fmt: skip
def test_other_sites_change_nothing(server: ReviewServer, out: Path, headers: dict[str, str]) -> None:
    status, _, _ = ask(server, "overrides", {"id": "kept-0", "decision": "remove"}, **headers)
    assert status in (400, 403)
    assert not (out / "overrides.csv").exists()


def test_without_the_link_nothing_changes(server: ReviewServer, out: Path) -> None:
    assert ask(server, "/overrides", {"id": "kept-0", "decision": "remove"})[0] == 403
    assert ask(server, "report/index.html", {"id": "kept-0", "decision": "remove"})[0] == 403
    assert not (out / "overrides.csv").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"7", b"\xff", b'{"id": "kept-0"}', {"id": "kept-0", "decision": "drop"},
        {"id": "nobody", "decision": "keep"}, {"id": 7, "decision": "keep"}, {"id": ["kept-0"], "decision": None},
        {"id": "kept-0", "decision": "keep", "note": 7}, b"[" * 10_000,
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
def test_what_is_no_decision_is_refused_in_words(server: ReviewServer, out: Path, body: Any) -> None:
    status, content, _ = ask(server, "overrides", body)
    assert status == 400
    assert len(content.split()) >= 5
    assert not (out / "overrides.csv").exists()


def test_file_that_an_editor_broke_is_not_written_over(server: ReviewServer, out: Path) -> None:
    (out / "overrides.csv").write_text("id,decision\nkept-0,perhaps\n")
    status, content, _ = ask(server, "overrides", {"id": "kept-1", "decision": "remove"})
    assert status == 400
    assert b"line 2 decides 'perhaps'" in content
    assert (out / "overrides.csv").read_text() == "id,decision\nkept-0,perhaps\n"


def test_folder_without_a_report_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run curator-dask inspect"):
        read_pages(Folder(str(tmp_path)))


def test_command_prints_its_link_and_ends_with_the_next_step(out: Path) -> None:
    command = [sys.executable, "-m", "curator_dask", "review", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Review: ").strip()
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.splitlines()[-1].strip() == f"--overrides {out / 'overrides.csv'}"
