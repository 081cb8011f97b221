"""What a cell of a user's table names: a video of the input, by its path or its file name, or a clip by its id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN: Final = -1
"""Stands for a cell that names nothing."""
AMBIGUOUS: Final = -2
"""Stands for a cell that names several videos: a file name that occurs twice."""
_PROTOCOL = re.compile(r"^[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True)
class Names:
    """Texts, and the number of what each of them names."""

    numbers: Mapping[str, int]

    @staticmethod
    def of_clips(ids: Iterable[str]) -> Names:
        """Each clip by its id."""
        return Names({clip_id: number for number, clip_id in enumerate(ids)})

    @staticmethod
    def of_videos(videos: Iterable[tuple[str, str]]) -> Names:
        """Each video, a relative and a full path, by both of them, and by its file name where no other video has it.

        The ending of a file name may be left out. A path goes before a file name: ``film.mp4`` names the video of that
        path, whatever other folders hold.
        """
        paths: dict[str, int] = {}
        files: dict[str, int] = {}
        for number, (relative, full) in enumerate(videos):
            for path in (relative, full):
                _add(paths, path, number)
            for name in {PurePosixPath(relative).name, PurePosixPath(relative).stem}:
                _add(files, name, number)
        return Names({**files, **paths})

    def find(self, cells: Any) -> NDArray[np.int64]:
        """(N,) numbers of what the cells, (N,) texts, name; `UNKNOWN` or `AMBIGUOUS` for others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = cells.cast(pa.string())
        places = pc.index_in(texts, value_set=self._known)
        if places.null_count:
            places = pc.coalesce(places, pc.index_in(_bare(texts), value_set=self._known))
        found: NDArray[np.int64] = self._numbers[pc.fill_null(places, -1).to_numpy()]
        return found

    @cached_property
    def _known(self) -> Any:
        import pyarrow as pa

        return pa.array(self.numbers.keys(), pa.string())

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """The number of each text; the last one is that of a text that is not known."""
        return np.fromiter((*self.numbers.values(), UNKNOWN), np.int64, len(self.numbers) + 1)


def _add(names: dict[str, int], name: str, number: int) -> None:
    names[name] = number if names.get(name, number) == number else AMBIGUOUS


def _bare(paths: Any) -> Any:
    """Paths without what stands for nothing: a protocol, ``./``, and spaces around."""
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(paths)
    return pc.replace_substring_regex(plain, pattern=f"{_PROTOCOL.pattern}|^(\\./+)+", replacement="")
