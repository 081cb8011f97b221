"""Glob patterns over paths with forward slashes: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(path: str, pattern: str) -> bool:
    """Whether the pattern stands for the whole path."""
    return _match(path.split("/"), pattern.split("/"))


def may_match_below(folder: str, pattern: str) -> bool:
    """Whether the pattern could stand for a path below the folder."""
    return _match(folder.split("/"), pattern.split("/"), is_start=True)


def chooses(path: str, pattern: str) -> bool:
    """Whether a pattern that chooses files stands for the path or for one of the folders that it lies in.

    A pattern without a slash stands for names at any depth: ``*.mp4``, ``trailers``. One with a slash begins where the
    path does: ``day1/*.mp4``.
    """
    wanted = pattern.strip("/")
    parts = path.split("/")
    if "/" not in pattern.rstrip("/"):
        return any(fnmatchcase(part, wanted) for part in parts)
    return any(_match(parts[:end], wanted.split("/")) for end in range(1, len(parts) + 1))


def _match(parts: list[str], patterns: list[str], *, is_start: bool = False) -> bool:
    """Whether the patterns stand for the parts; with `is_start`, for the parts and some more behind them."""
    if is_start and not parts and patterns:
        return True
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match(parts[skip:], patterns[1:], is_start=is_start) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match(parts[1:], patterns[1:], is_start=is_start)
