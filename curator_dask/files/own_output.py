"""Which files of an input folder belong to the output: it may lie in the input folder, and its clips are no sources."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.globs import may_match_below
from curator_dask.files.local_disk.listing import is_below


@dataclass(frozen=True)
class OwnOutput:
    """The output folder as it is seen from the folder that is searched. ``path in own_output`` asks for one file.

    Where the output folder is not a folder below the searched one, other files may lie in it. Then only what stages
    write belongs to the output.
    """

    searched: str
    """Real path of the folder that paths start from."""
    output: str
    clips_too: bool = True
    """Clips belong to the output; False where they are what is looked for."""
    is_local: bool = True

    @classmethod
    def seen_from(cls, searched: Folder, output: Folder | None, *, clips_too: bool) -> OwnOutput | None:
        """None where the output is on another kind of storage."""
        if output is None or output.is_local != searched.is_local:
            return None
        _real.cache_clear()  # links may have changed since another search
        if not searched.is_local:
            return cls(searched.root, output.root, clips_too, is_local=False)
        return cls(_real(searched.root), _real(output.root), clips_too)

    def __contains__(self, path: str) -> bool:
        full = self._full(path.rstrip("/"))
        if not is_below(full, self.output):
            return False
        return self._is_strictly_inside or layout.is_of_output(full[len(self.output) + 1 :], clips=self.clips_too)

    def is_reached_by(self, pattern: str) -> bool:
        """Whether a search would come upon its files, now or after the first run; the empty pattern finds all."""
        if not is_below(self.output, self.searched):
            return False
        below = self.output[len(self.searched) :].strip("/")
        return not pattern or (may_match_below(below, pattern) if below else "/" in pattern)

    @property
    def _is_strictly_inside(self) -> bool:
        return self.output != self.searched and is_below(self.output, self.searched)

    def _full(self, path: str) -> str:
        """The real path: a link may lead from elsewhere into the output."""
        parent, _, name = f"{self.searched.rstrip('/')}/{path}".rpartition("/")
        return f"{_real(parent).rstrip('/') if self.is_local else parent}/{name}"


@functools.lru_cache
def _real(path: str) -> str:
    return os.path.realpath(path)
