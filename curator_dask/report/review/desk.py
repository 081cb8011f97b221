"""Take a decision of a reviewer and save it: the file is read, changed and written as a whole, one decision at a time."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from curator_dask.errors import InputError
from curator_dask.report.review.overrides import (
    KEEP,
    OVERRIDES,
    REMOVE,
    Override,
    overrides_csv,
    parse_overrides,
)
from curator_dask.report.review.pages import ReviewPages


@dataclass(frozen=True)
class Desk:
    """Where decisions are taken. What someone wrote into the file by hand meanwhile stays."""

    pages: ReviewPages
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def overrides(self) -> dict[str, Override]:
        """All decisions so far. Raises InputError where a line of the file cannot be understood."""
        if not self.pages.out.exists(OVERRIDES):
            return {}
        return parse_overrides(self.pages.out.read_bytes(OVERRIDES).decode("utf-8-sig"))

    def decide(self, body: bytes) -> None:
        """Save the decision in a JSON object with id, decision and note; a decision of null takes back an earlier one.

        Raises InputError for anything else, and for a clip that is not in the report.
        """
        clip_id, decision, note = _parsed(body)
        if not self.pages.knows(clip_id):
            raise InputError(f"there is no clip {clip_id!r} to decide on")
        with self._lock:
            overrides = self.overrides()
            overrides.pop(clip_id, None)
            if decision is not None:
                overrides[clip_id] = Override(decision, note)
            self.pages.out.write_bytes(OVERRIDES, overrides_csv(overrides))

    def as_json(self) -> bytes:
        """The decisions on clips of the report, for the page."""
        known = {clip_id: asdict(one) for clip_id, one in self.overrides().items() if self.pages.knows(clip_id)}
        return json.dumps({"overrides": known}).encode("ascii")


def _parsed(body: bytes) -> tuple[str, str | None, str]:
    try:
        request: Any = json.loads(body)
        clip_id, decision, note = request["id"], request["decision"], request.get("note", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("a decision is a JSON object with id, decision and note") from error
    if not isinstance(clip_id, str) or not isinstance(note, str) or decision not in (KEEP, REMOVE, None):
        raise InputError("id and note are texts, and the decision is keep, remove or null")
    return clip_id, decision, note
