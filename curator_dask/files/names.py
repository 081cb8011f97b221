"""File names as text: hostile or damaged names become something that can be printed, stored and hashed."""

from __future__ import annotations


def printable(name: str) -> str:
    """A file name as valid text: bytes that are no UTF-8, and control characters, are shown as escapes."""
    text = name_bytes(name).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def name_bytes(name: str) -> bytes:
    """The bytes of a file name. Surrogate escapes become the bytes that they stand for, so that no name is refused."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate of another kind, which no file name holds, but JSON can
        return name.encode("utf-8", "surrogatepass")
