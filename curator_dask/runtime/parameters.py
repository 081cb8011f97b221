"""What a folder of results is taken for: compare the parameters that it was made with to those that are wanted now.

Folders are recorded as absolute paths, together with the folder of the results at that time. So they are recognised where
results and inputs were moved together, and where the results alone were moved.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curator_dask.files.folder import Folder
from curator_dask.runtime.records import JSON, dump_json

FORMAT = 1
FOLDER = "folder"
"""Where the results were when the record was written. It is no parameter: results do not depend on it."""
_ENDINGS = ("_path", "_dir")
"""Parameters with such names hold paths."""


def as_record(folder: Folder, stage: str, identity: Mapping[str, JSON]) -> dict[str, JSON]:
    """What is written down of the parameters of a stage."""
    record = {"format": FORMAT, "stage": stage, "params": dict(identity), FOLDER: folder.root}
    return dict(json.loads(dump_json(record)))


def without_folder(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that determines the results."""
    return {name: value for name, value in record.items() if name != FOLDER}


@dataclass(frozen=True)
class Comparison:
    """A record in a folder, beside the record that would be written now."""

    held: Mapping[str, Any]
    wanted: Mapping[str, Any]

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
        return "; ".join(
            f"{name} was {_show(old.get(name))} and is now {_show(new.get(name))}" for name in self.fields()
        )

    def _params(self) -> tuple[dict[str, Any], dict[str, Any]]:
        old = self.held.get("params")
        return old if isinstance(old, dict) else {}, self.wanted["params"]

    def _agree(self, name: str, old: Any, new: Any) -> bool:
        return old == new or (name.endswith(_ENDINGS) and self._from_results(old, new))

    def _from_results(self, old: Any, new: Any) -> bool:
        """Whether the paths are the same as seen from the folders of the results, then and now."""
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            return all(one == other or self._from_results(one, other) for one, other in zip(old, new, strict=True))
        then, now = self.held.get(FOLDER), self.wanted[FOLDER]
        if not isinstance(then, str) or not isinstance(old, str) or not isinstance(new, str):
            return False
        return relative_path(old, then) == relative_path(new, now)


def moved_path(record: Mapping[str, Any], folder: Folder, path: str) -> str:
    """Where a recorded path would be now if it was moved together with the results."""
    then = record.get(FOLDER)
    if not isinstance(then, str) or then == folder.root:
        return path
    return posixpath.normpath(posixpath.join(folder.root, relative_path(path, then)))


def relative_path(path: str, start: str) -> str:
    """The way from one folder to another.

    >>> relative_path("/data/out/vectors", "/data/out/kmeans"), relative_path("bucket/out/vectors", "bucket/out")
    ('../vectors', 'vectors')
    """
    return posixpath.relpath(f"/{path.lstrip('/')}", f"/{start.lstrip('/')}")


def _show(value: JSON) -> str:
    if value is None:
        return "not given"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else f"{text[:117]}..."
