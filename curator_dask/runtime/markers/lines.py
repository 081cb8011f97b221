"""A record as one line of a batch. Each line has its own seal, so a damaged byte costs one record and no more."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

FORGOTTEN = "forgotten"
"""Stands in the line of a unit that is not part of the stage any more: it hides what older batches say of the unit."""

_BEFORE_KEY = b'{"key": "'
_KEY_AT = len(_BEFORE_KEY)
_DIGITS = 32
_END = b'"}'
_SEAL_LENGTH = _DIGITS + len(_END)
_SEAL = re.compile(rb'"seal": "[0-9a-f]{32}"\}')


def line_of(key: str, fields: Mapping[str, Any]) -> bytes:
    """The line of a record, without the newline. The key stands first, so that lines are put in order without being read."""
    text = json.dumps({**fields, "seal": ""}, sort_keys=True, ensure_ascii=True, allow_nan=False)
    unsealed = b'%s%s", %s' % (_BEFORE_KEY, key.encode("ascii"), text[1:].encode("ascii"))
    return unsealed[: -len(_END)] + _seal_of(unsealed) + _END


def line_of_forgotten(key: str) -> bytes:
    return line_of(key, {FORGOTTEN: True})


def _seal_of(unsealed: bytes) -> bytes:
    return hashlib.blake2b(unsealed, digest_size=_DIGITS // 2).hexdigest().encode("ascii")


def is_whole(line: bytes) -> bool:
    """Whether the line has the bytes that were written."""
    return line.startswith(_BEFORE_KEY) and line[-_SEAL_LENGTH:] == _seal_of(line[:-_SEAL_LENGTH] + _END) + _END


def key_of(line: bytes) -> str:
    """The key of the unit of a whole line."""
    return line[_KEY_AT : line.index(b'"', _KEY_AT)].decode("ascii")


def place_of(key: str) -> str:
    """What units are put in order by: the name of a marker that is a file of its own."""
    return f"{key}.json"


def place_in(line: bytes) -> bytes:
    """`place_of` the key of a whole line, as bytes: they have the same order, and half the cost."""
    return line[_KEY_AT : line.index(b'"', _KEY_AT)] + b".json"


def lines_in(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """The whole lines and the damaged ones in a part of a batch. Where a newline is damaged, both records around it are whole."""
    whole: list[bytes] = []
    damaged: list[bytes] = []
    for line in text.split(b"\n"):
        if is_whole(line):
            whole.append(line)
        elif parts := _told_apart(line):
            whole += parts
        elif line:
            damaged.append(line)
    return whole, damaged


def _told_apart(line: bytes) -> list[bytes]:
    """The whole lines that make up one line, each but for one byte behind it; none where they do not."""
    ends = [match.end() for match in _SEAL.finditer(line)]
    parts = [line[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]
    return parts if all(map(is_whole, parts)) else []


def fields_of(lines: Sequence[bytes]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Key and fields of whole lines; None for those of a forgotten unit. To read many lines at a time is much faster."""
    for fields in json.loads(b"[" + b",".join(lines) + b"]"):
        yield fields["key"], None if FORGOTTEN in fields else fields


def text_of(lines: Iterable[bytes]) -> bytes:
    """The bytes of a batch."""
    return b"".join(line + b"\n" for line in lines)
