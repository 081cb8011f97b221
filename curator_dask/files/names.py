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


NO_PLURALS = frozenset({"across", "is", "less", "this"})


def counted(number: int, what: str) -> str:
    """A number with what it counts, which is given in the plural.

    >>> counted(1, "clusters"), counted(1, "sources mostly removed"), counted(1200, "clips")
    ('1 cluster', '1 source mostly removed', '1,200 clips')
    """
    words = what.split(" ") if number != 1 else [_singular(word) for word in what.split(" ")]
    return f"{number:,} {' '.join(words)}"


def _singular(word: str) -> str:
    return word.removesuffix("s") if word not in NO_PLURALS else word
