"""The sizes of the files that units wrote, from one listing of each folder that they lie in."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from curator_dask.files.folder import Folder
from curator_dask.files.layout import STATE


class Sizes:
    """The sizes of files below a folder. A part of it is listed when a file in it is asked for first."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._listed: set[str] = set()
        self._sizes: dict[str, int] = {}

    def of(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        size = self._sizes.get(path)
        if size is None and (part := _part_of(path)) not in self._listed:
            self._listed.add(part)
            self._sizes.update(self._list(part))
            size = self._sizes.get(path)
        return size

    def all_there(self, outputs: Mapping[str, int]) -> bool:
        """Whether each of these files is there with its size."""
        return all(map(operator.eq, map(self.of, outputs), outputs.values()))  # a generator would take twice as long

    def _list(self, part: str) -> dict[str, int]:
        if ".." in part.split("/"):
            return {}  # no stage writes there
        depth = 1 if not part or part.startswith(f"{STATE}/") else None
        return self._folder.sizes(part, max_depth=depth)


def _part_of(path: str) -> str:
    """What is listed for a file: its folder below the state of stages, else the outermost folder, or that of all outputs itself.

    An object store is asked for a thousand files at a time, however many folders these lie in.
    """
    first, slash, _ = path.partition("/")
    if first == STATE:
        return path.rpartition("/")[0]
    return first if slash else ""
