"""What a folder of results is taken for: compare the parameters that it was made with to those that are wanted now.

Folders are recorded as absolute paths, and as seen from the folder of the results. So they are recognised where results and
inputs were moved together, and where the results alone were moved.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_dask.files.folder import Folder

FORMAT = 1
RELATIVE = "relative"
"""The paths as seen from the folder of the results. They are no parameters: results do not depend on them."""
_ENDINGS = ("_path", "_dir")
"""Parameters with such names hold paths."""


def as_record(folder: Folder, stage: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What is written down of the parameters of a stage, before it is put into JSON."""
    paths = {name: value for name, value in identity.items() if name.endswith(_ENDINGS) and value is not None}
    relative = {name: _seen_from(folder.root, value) for name, value in paths.items()}
    return {"format": FORMAT, "stage": stage, "params": dict(identity), **({RELATIVE: relative} if relative else {})}


def without_relative(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that determines the results."""
    return {name: value for name, value in record.items() if name != RELATIVE}


@dataclass(frozen=True)
class Comparison:
    """A record in a folder, beside the record that would be written now."""

    held: Mapping[str, Any]
    wanted: Mapping[str, Any]
    unrecorded: Mapping[str, Any] = field(default_factory=dict)
    """The values of parameters that a record leaves out."""

    def same(self) -> bool:
        """Whether the results are those of the wanted parameters."""
        whole = all(self.held.get(name) == self.wanted[name] for name in ("format", "stage"))
        return whole and isinstance(self.held.get("params"), dict) and not self.fields()

    def fields(self) -> list[str]:
        """The names of the parameters that differ."""
        old, new = self._params()
        return sorted(name for name in old.keys() | new.keys() if not self._agree(name, old.get(name), new.get(name)))

    def describe(self) -> str:
        """``eps was 0.65 and is now 0.1``; empty if no parameter differs."""
        old, new = self._params()
        shown = (
            (name, *(_show(one.get(name, self.unrecorded.get(name))) for one in (old, new))) for name in self.fields()
        )
        return "; ".join(f"{name} was {then} and is now {now}" for name, then, now in shown)

    def _params(self) -> tuple[dict[str, Any], dict[str, Any]]:
        old = self.held.get("params")
        return old if isinstance(old, dict) else {}, self.wanted["params"]

    def _agree(self, name: str, old: Any, new: Any) -> bool:
        if old == new:
            return True
        then, now = ((record.get(RELATIVE) or {}).get(name) for record in (self.held, self.wanted))
        if not (isinstance(then, list) and isinstance(now, list) and len(then) == len(now)):
            return now is not None and then == now
        return all(pair[0] == pair[1] or pair[2] == pair[3] for pair in zip(old, new, then, now, strict=True))


def moved_path(record: Mapping[str, Any], folder: Folder, name: str) -> str | None:
    """Where a recorded path would be now if it was moved together with the results; None if that is not known."""
    relative = (record.get(RELATIVE) or {}).get(name)
    return posixpath.normpath(posixpath.join(folder.root, relative)) if isinstance(relative, str) else None


def _seen_from(start: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_seen_from(start, one) for one in value]
    return relative_path(value, start) if isinstance(value, str) else value


def relative_path(path: str, start: str) -> str:
    """The way from one folder to another.

    >>> relative_path("/data/out/vectors", "/data/out/kmeans"), relative_path("bucket/out/vectors", "bucket/out")
    ('../vectors', 'vectors')
    """
    return posixpath.relpath(f"/{path.lstrip('/')}", f"/{start.lstrip('/')}")


def _show(value: Any) -> str:
    if value is None:
        return "not given"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else f"{text[:117]}..."
