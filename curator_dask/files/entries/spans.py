"""Spans of a file, as (first byte, byte after the last): whether all their bytes were there."""

from __future__ import annotations

from collections.abc import Sequence

from curator_dask.errors import InputError

Spans = Sequence[tuple[int, int]]


def whole_parts(path: str, spans: Spans, parts: list[bytes]) -> list[bytes]:
    """The parts that were read of these spans. Raises InputError where the file ends before one of them does."""
    if any(len(part) != stop - start for part, (start, stop) in zip(parts, spans, strict=True)):
        raise InputError(f"{path} has been cut short: it ends before byte {max(stop for _, stop in spans)}")
    return parts
