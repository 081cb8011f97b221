"""A server that speaks S3 in this process, and notes what it is asked for."""

from __future__ import annotations

import collections
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest

from curator_dask.files.folder import Folder


@dataclass
class Noting:
    """Stands before the server: notes each request, and refuses those that a test names."""

    server: object
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    watched: str = ""
    """Requests of other tests may still come in, and are not noted."""
    refused: re.Pattern | None = None
    together: threading.Barrier | None = None
    """Requests for parts wait here for each other: they go on if so many are under way at a time. A read of the first
    part does not wait, as it may tell how long the file is."""
    met: list[bool] = field(default_factory=list)

    def __call__(self, request, answer):
        method, query, reach = request["REQUEST_METHOD"], request.get("QUERY_STRING", ""), request.get("HTTP_RANGE", "")
        if self.watched in request["PATH_INFO"] or f"prefix={self.watched}/" in f"{unquote(query)}/":
            self.seen.append((method, query, reach))
        if self.together is not None and ("partNumber" in query or _begins_later(reach)):
            self.meet()
        if self.refused is not None and self.refused.search(query):
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            answer("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>refused by the test</Message></Error>"]
        return self.server(request, answer)

    def watch(self, name):
        """Note requests for what has this name, and listings of it, from now on."""
        self.watched, self.refused, self.together = name, None, None
        self.seen.clear()
        self.met.clear()

    def meet(self):
        try:
            self.together.wait(timeout=20)
            self.met.append(True)
        except threading.BrokenBarrierError:
            self.met.append(False)

    def methods(self):
        found = collections.Counter(method for method, *_ in self.seen)
        self.seen.clear()
        return dict(found)


@pytest.fixture(scope="package")
def noting(monkeypatch_package):
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = Noting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    monkeypatch_package.setenv("MOTO_PORT", str(server.server_port))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    application.url = f"http://127.0.0.1:{server.server_port}"
    yield application
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="package")
def monkeypatch_package():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="package")
def place(noting: Noting) -> Callable[[str], Folder]:
    """A function that gives a folder of its own; only requests for it are noted from then on."""
    options = {"key": "testing", "secret": "testing", "client_kwargs": {"endpoint_url": noting.url}}
    number = itertools.count()

    def made(name: str) -> Folder:
        folder = Folder(f"s3://bucket/{name}-{next(number)}", options)
        if not folder.fs.exists("bucket"):
            folder.fs.mkdir("bucket")
        noting.watch(folder.root.partition("/")[2])
        return folder

    return made


@pytest.fixture(scope="package")
def fill() -> Callable[[Folder, Sequence[str]], None]:
    """A function that puts empty objects into a folder; the server runs in this process, and to put by requests takes minutes."""

    def filled(folder: Folder, names: Sequence[str]) -> None:
        from moto.s3.models import s3_backends

        bucket, key, _ = folder.fs.split_path(folder.root)
        for name in names:
            s3_backends["123456789012"]["global"].put_object(bucket, f"{key}/{name}", b"")

    return filled


def _begins_later(reach: str) -> bool:
    return bool(reach) and not reach.startswith("bytes=0-")
