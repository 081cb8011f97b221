"""A server that speaks S3 and fails now and then: ``python -m benchmarks.faults.flaky_store FOLDER``.

It reads the share of requests that fail from the file ``rate``, and adds a line per fault to ``faults``.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>a fault on purpose</Message></Error>"
SLOW_S = 3.0

Answer = Callable[..., Any]


class Flaky:
    """Stands before the real server."""

    def __init__(self, server: Callable[[dict[str, Any], Answer], Iterable[bytes]], folder: Path) -> None:
        self._server, self._folder = server, folder
        self._chance = random.Random(0)

    def __call__(self, request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        if self._chance.random() >= self._rate():
            return self._server(request, answer)
        faults = {
            "errors 500": self._error("500 Internal Server Error", "InternalError"),
            "errors 503": self._error("503 Slow Down", "SlowDown"),
            "slow answers": self._slow,
            "connections cut": self._cut_connection,
            "answers cut": self._cut_answer,
        }
        name = self._chance.choice(list(faults))
        with (self._folder / "faults").open("a") as log:
            log.write(f"{name}\n")
        return faults[name](request, answer)

    def _rate(self) -> float:
        rate = self._folder / "rate"
        return float(rate.read_text() or 0) if rate.exists() else 0.0

    def _error(self, status: str, code: str) -> Callable[[dict[str, Any], Answer], Iterable[bytes]]:
        def respond(request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
            _read_all(request)
            answer(status, [("Content-Type", "application/xml")])
            return [ERROR.format(code=code).encode()]

        return respond

    def _slow(self, request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        time.sleep(SLOW_S)
        return self._server(request, answer)

    def _cut_connection(self, request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        """The request is not done, and nobody answers."""
        request["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        answer("500 Internal Server Error", [])
        return []

    def _cut_answer(self, request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        """The request is done, and half of the answer comes."""
        body = b"".join(self._server(request, answer))
        yield body[: len(body) // 2]
        request["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _read_all(request: dict[str, Any]) -> None:
    """A client that is still sending would take an early answer for a broken connection."""
    request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))


def main() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    os.environ["MOTO_PORT"] = "0"
    folder = Path(sys.argv[1])
    server = make_server("127.0.0.1", 0, Flaky(DomainDispatcherApplication(create_backend_app), folder), threaded=True)
    temporary = folder / "url.part"
    temporary.write_text(json.dumps(f"http://127.0.0.1:{server.server_port}"))
    temporary.replace(folder / "url")
    server.serve_forever()


if __name__ == "__main__":
    main()
