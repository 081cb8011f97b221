"""What a cell of a user's table names: a video of the input, by its path or its file name, or a clip by its id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass

UNKNOWN: Final = -1
"""Stands for a cell that names nothing."""
AMBIGUOUS: Final = -2
"""Stands for a cell that names several videos: a file name that occurs twice."""
_PROTOCOL = re.compile(r"^[a-z][a-z0-9+.-]*://")
_IN_FRONT: Final = rf"^(?:[\s\x0b\x1c-\x1f\x85\pZ]|{_PROTOCOL.pattern[1:]}|\./+)+"
"""All that `_bare` may take away in front, as often as it stands there, in the syntax of RE2."""


@dataclass(frozen=True)
class Names:
    """Texts, and the number of what each of them names."""

    texts: Any
    """(N,) the texts, each once."""
    numbers: NDArray[np.int64]
    """(N + 1,) the number of each text; the last one is that of a text that is not known."""

    @staticmethod
    def of_rows(texts: Any, numbers: NDArray[np.int64], is_path: NDArray[np.bool_]) -> Names:
        """Names from rows: (n,) texts, the number that each stands for, and whether it is a path (or an id) or a file name.

        A path goes before a file name: ``film.mp4`` names the video of that path, whatever other folders hold.
        """
        import pyarrow as pa

        paths, path_numbers = _once(texts, numbers, is_path)
        files, file_numbers = _once(texts, numbers, ~is_path)
        is_other = ~_is_in(files, paths)
        known = pa.concat_arrays([paths, files.filter(pa.array(is_other))])
        return Names(known, np.concatenate([path_numbers, file_numbers[is_other], [UNKNOWN]]))

    @staticmethod
    def of_videos(videos: Iterable[tuple[str, str]]) -> Names:
        """Each video, a relative and a full path, by what `video_names` gives."""
        import pyarrow as pa

        rows = [(text, number, is_path) for number, one in enumerate(videos) for text, is_path in video_names(*one)]
        texts, numbers, is_path = zip(*rows, strict=True) if rows else ((), (), ())
        return Names.of_rows(pa.array(texts, pa.string()), np.array(numbers, np.int64), np.array(is_path, bool))

    def find(self, cells: Any) -> NDArray[np.int64]:
        """(N,) numbers of what the cells, (N,) texts, name; `UNKNOWN` or `AMBIGUOUS` for others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = cells.cast(pa.string())
        places = pc.index_in(texts, value_set=self.texts)
        if places.null_count:
            places = pc.coalesce(places, pc.index_in(_bare(texts), value_set=self.texts))
        found: NDArray[np.int64] = self.numbers[pc.fill_null(places, -1).to_numpy()]
        return found


def video_names(relative: str, full: str) -> Sequence[tuple[str, bool]]:
    """The texts that name a video, and whether each is a path. The ending of a file name may be left out."""
    path = PurePosixPath(relative)
    return [(relative, True), (full, True), (path.name, False), *([(path.stem, False)] if path.suffix else [])]


def meeting_texts(texts: Any) -> Any:
    """(N,) texts, the same for a name and for all cells that may stand for it: what `_bare` leaves, again and again."""
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(texts)
    return pc.fill_null(pc.replace_substring_regex(plain, pattern=_IN_FRONT, replacement=""), "")


def _once(texts: Any, numbers: NDArray[np.int64], wanted: NDArray[np.bool_]) -> tuple[Any, NDArray[np.int64]]:
    """Each wanted text once, with its number, or `AMBIGUOUS` if it has several."""
    import pyarrow as pa

    rows = pa.table({"text": texts.cast(pa.string()), "number": numbers}).filter(pa.array(wanted))
    found = rows.group_by("text", use_threads=False).aggregate([("number", "min"), ("number", "max")])
    low, high = (found[name].to_numpy() for name in ("number_min", "number_max"))
    return found["text"].combine_chunks(), np.where(low == high, low, AMBIGUOUS)


def _is_in(texts: Any, others: Any) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    found: NDArray[np.bool_] = pc.is_in(texts, value_set=others).to_numpy(zero_copy_only=False)
    return found


def _bare(paths: Any) -> Any:
    """Paths without what stands for nothing: a protocol, ``./``, and spaces around."""
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(paths)
    return pc.replace_substring_regex(plain, pattern=f"{_PROTOCOL.pattern}|^(\\./+)+", replacement="")
