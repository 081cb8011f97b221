"""Text from outside, made safe for the places of a page: JSON inside a script, and URLs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from curator_dask.files.names import printable

_IN_SCRIPTS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What could end a script or open a comment in HTML. Line separators are escaped by ASCII JSON anyway."""


def script_json(value: Any) -> str:
    """JSON that may stand in a script element or in a JavaScript file: ASCII, and no text of it can end the script.

    Raises ValueError for NaN and infinite numbers, which JSON does not have.

    >>> script_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character, escaped in _IN_SCRIPTS.items():
        text = text.replace(character, escaped)
    return text


def template(text: str) -> Any:
    """A template of HTML whose values are escaped. Its filter ``printable`` is for names that nobody vouches for."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["printable"] = lambda name: printable(str(name))
    return environment.from_string(text)


def relative_url(path: str | None) -> str | None:
    """A path relative to the page as a URL; None for a path that a page cannot reach in this way.

    >>> relative_url("../clips/50% #1?.mp4")
    '../clips/50%25%20%231%3F.mp4'
    >>> relative_url("s3://bucket/clips/a.mp4") is None
    True
    """
    if not path or path.startswith("/") or "://" in path:
        return None
    # A colon is escaped too, so that no name is taken for a scheme such as javascript.
    return "/".join(quote(part, safe="", errors="surrogatepass") for part in path.split("/"))
