"""No two clips of an export may have the same key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from curator_dask.errors import InputError
from curator_dask.export.samples import SAFE_KEY, member_key

if TYPE_CHECKING:
    import pyarrow as pa

_SAFE: Final = rf"\A(?:{SAFE_KEY})\z"
_LIKE_A_DIGEST: Final = r"\Aclip-[0-9a-f]{32}\z"
"""An id that is the key of another clip, whose id is not safe, looks so."""


def check_ids(ids: Any) -> None:
    """Raise InputError if an id occurs twice among these."""
    import pyarrow.compute as pc

    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = sorted(ids.value_counts().to_pylist(), key=lambda one: (-one["counts"], one["values"]))
    raise _doubled(counts[0]["values"], counts[0]["counts"])


def check_keys(tables: Callable[[], Iterable[pa.Table]]) -> None:
    """Raise InputError if clips with different ids have one key. It has to be looked for only where an id looks like a digest."""
    import pyarrow.compute as pc

    alike = {
        clip
        for table in tables()
        for clip in _filtered(table["id"], pc.match_substring_regex(table["id"], _LIKE_A_DIGEST))
    }
    for table in tables() if alike else ():
        is_safe = pc.match_substring_regex(table["id"], _SAFE)
        for clip in _filtered(table["id"], pc.invert(is_safe)):
            if (key := member_key(clip)) in alike:
                raise _doubled(key, 2)


def _filtered(ids: Any, where: Any) -> list[str]:
    found: list[str] = ids.filter(where).to_pylist()
    return found


def _doubled(key: str, count: int) -> InputError:
    return InputError(f"clip {key} comes {count} times among the clips to export; ids must be unique")
