"""The sizes of the files that units wrote, from one listing of each folder that they lie in."""

from __future__ import annotations

from curator_dask.files.folder import Folder
from curator_dask.files.layout import STATE


class Sizes:
    """The sizes of files below a folder. A part of it is listed when a file in it is asked for first."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._parts: dict[str, dict[str, int]] = {}

    def of(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        part = _part_of(path)
        if part not in self._parts:
            self._parts[part] = self._listed(part)
        return self._parts[part].get(path)

    def _listed(self, part: str) -> dict[str, int]:
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
