"""The server of a review: the page, its data and clips, and decisions. It listens on this machine only."""

from __future__ import annotations

import re
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

from curator_dask.errors import CuratorError, InputError
from curator_dask.report.review.desk import Desk
from curator_dask.report.review.doorkeeper import HEADERS, Doorkeeper
from curator_dask.report.review.pages import PAGE, ReviewPages

ADDRESS: Final = "127.0.0.1"
_TYPES: Final = {"mp4": "video/mp4", "webp": "image/webp", "js": "text/javascript", "html": "text/html; charset=utf-8"}
_PART_BYTES: Final = 1 << 18


class ReviewServer(ThreadingHTTPServer):
    """Serves one review until it is shut down. A port of 0 takes a free one."""

    daemon_threads = True

    def __init__(self, pages: ReviewPages, port: int = 0) -> None:
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}): give another --port") from error
        self.pages, self.desk = pages, Desk(pages)
        self.door = Doorkeeper(secrets.token_urlsafe(24), self.server_port)

    @property
    def url(self) -> str:
        """The link to the page. Whoever has it may decide."""
        return f"http://{ADDRESS}:{self.server_port}/{self.door.token}/{PAGE}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that ends a download early is no fault."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "curator-dask", ""
    timeout = 60
    server: ReviewServer

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "overrides":
            self._answer_with(self.server.desk.as_json)
        elif (text := self.server.pages.text(path)) is not None:
            self._send(HTTPStatus.OK, text, _type_of(path))
        elif path in self.server.pages.media:
            self._send_file(path)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        refusal = self.server.door.refusal_of_change(self._headers())
        if path != "overrides" or refusal is not None:
            self._refuse(HTTPStatus.FORBIDDEN, refusal or "nothing can be changed here")
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))

        def decided() -> bytes:
            self.server.desk.decide(body)
            return self.server.desk.as_json()

        self._answer_with(decided)

    def _headers(self) -> dict[str, str]:
        return {name.title(): value for name, value in self.headers.items()}

    def _path(self) -> str | None:
        """The path below the output folder that is asked for; None, and an answer, where it is not given out."""
        refusal = self.server.door.refusal(self._headers())
        path = self.server.door.path_behind(urlsplit(self.path).path)
        if refusal is not None or path is None:
            self._refuse(HTTPStatus.FORBIDDEN, refusal or "this link is not the one that curator-dask review printed")
            return None
        return unquote(path, errors="surrogatepass")

    def _answer_with(self, make: Any) -> None:
        try:
            content = make()
        except (CuratorError, UnicodeDecodeError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._send(HTTPStatus.OK, content, "application/json")

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self.close_connection = True  # the body of the request has not been read
        self._send(status, f"{words}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self._begin(status, kind, len(content))
        self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, length: int, **more: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_file(self, path: str) -> None:
        """A clip or a preview, or the part of it that is asked for: players jump by asking for parts."""
        size = self.server.pages.out.size(path)
        if size is None:
            self._refuse(HTTPStatus.NOT_FOUND, "this file is gone")
            return
        start, stop = byte_range(self.headers.get("Range"), size)
        with self.server.pages.out.open(path) as stream:
            if (start, stop) == (0, size):
                self._begin(HTTPStatus.OK, _type_of(path), size, Accept_Ranges="bytes")
            else:
                span = f"bytes {start}-{stop - 1}/{size}"
                self._begin(HTTPStatus.PARTIAL_CONTENT, _type_of(path), stop - start, Content_Range=span)
            stream.seek(start)
            self._copy(stream, stop - start)

    def _copy(self, stream: IO[bytes], num_bytes: int) -> None:
        while num_bytes and (part := stream.read(min(num_bytes, _PART_BYTES))):
            self.wfile.write(part)
            num_bytes -= len(part)

    def log_message(self, *_: Any) -> None:
        """Nothing: the link would stand in the log."""


def _type_of(path: str) -> str:
    return _TYPES.get(path.rpartition(".")[2], "application/octet-stream")


def byte_range(header: str | None, size: int) -> tuple[int, int]:
    """The bytes [start, stop) that a Range header asks for; all of them where it is missing or makes no sense.

    >>> byte_range("bytes=2-5", 10), byte_range("bytes=7-", 10), byte_range("bytes=-3", 10), byte_range("bytes=9-2", 10)
    ((2, 6), (7, 10), (7, 10), (0, 10))
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "")
    if found is None or not any(found.groups()):
        return 0, size
    first, last = found.groups()
    start, stop = (int(first), min(int(last) + 1, size) if last else size) if first else (size - int(last), size)
    return (max(start, 0), stop) if max(start, 0) < stop else (0, size)
