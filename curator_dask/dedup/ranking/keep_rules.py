"""Words that say which row of a group of duplicates is kept: ``largest,longest`` or ``score:desc`` → a ranking."""

from __future__ import annotations

from typing import Final

from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import ParameterError

WORDS: Final = {
    "largest": ("pixels", False),
    "smallest": ("pixels", True),
    "longest": ("duration_s", False),
    "shortest": ("duration_s", True),
}
"""Word → column and whether it ascends; ``pixels`` is width × height, ``duration_s`` the length of the clip."""
DIRECTIONS: Final = {"asc": True, "desc": False}


def parse_keep(words: str) -> RankingStrategy:
    """The ranking by criteria that are separated by commas, the most important first. Equal rows are ranked by id.

    >>> ranking = parse_keep("largest, score:asc")
    >>> ranking.metadata_cols, ranking.ascending
    (('pixels', 'score'), (False, True))

    Each criterion is one of `WORDS`, or ``column:asc`` or ``column:desc`` (the lowest or the highest value is kept).
    Raises ParameterError for anything else.
    """
    criteria = [_criterion(word.strip()) for word in words.split(",")]
    columns = [column for column, _ in criteria]
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise ParameterError(f"keep ({words!r}) ranks by {doubled[0]!r} more than once")
    return RankingStrategy.metadata_based(columns, [ascending for _, ascending in criteria])


def _criterion(word: str) -> tuple[str, bool]:
    if word in WORDS:
        return WORDS[word]
    column, _, direction = word.rpartition(":")
    if not column or direction not in DIRECTIONS:
        raise ParameterError(
            f"keep: {word!r} is none of {', '.join(WORDS)}, nor a column with its direction such as score:desc"
        )
    return column, DIRECTIONS[direction]
