"""One file below a folder, as a listing tells of it."""

from __future__ import annotations

from dataclasses import dataclass

HIDDEN = "hidden"
LINK_OUT = "link-out"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file below a folder."""

    path: str
    """Relative to the folder, with forward slashes."""
    num_bytes: int
    version: str
    """Changes when the file is replaced: modification time in ns, or the store's etag."""
    passed_over: str = ""
    """Why a listing does not look at it: ``HIDDEN`` or ``LINK_OUT``. It may be a folder then, with a slash at its end."""
