"""Who may speak with the server of a review: the page that it gave out itself, in the browser of whoever has the link."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MOST_BODY_BYTES: Final = 20_000
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer: nothing is kept, framed, or read by other sites."""


@dataclass(frozen=True)
class Doorkeeper:
    """Checks requests. Another user of this machine lacks the token; another site, whatever name it has itself resolved to
    this address, sends its own name as host or origin."""

    token: str
    port: int

    def path_behind(self, path: str) -> str | None:
        """What follows the token in a path; None without the right token."""
        first, _, rest = path.removeprefix("/").partition("/")
        return rest if hmac.compare_digest(first.encode(), self.token.encode()) else None

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why no request with these headers is answered, or None."""
        if headers.get("Host", "") not in self._hosts():
            return "this server is asked by the name 127.0.0.1 or localhost only"
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "another site may not ask"
        return None

    def refusal_of_change(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers changes nothing, or None."""
        if headers.get("Origin", "") != f"http://{headers.get('Host', '')}":
            return "a change must come from the page itself"
        if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            return "a change is sent as application/json"
        length = headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= MOST_BODY_BYTES):
            return f"a change has a length of at most {MOST_BODY_BYTES} bytes"
        return None

    def _hosts(self) -> tuple[str, ...]:
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
