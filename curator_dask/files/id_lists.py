r"""Ids in text files: one id per line in lists, and cells of CSV files that no spreadsheet takes for a formula.

**Lists** (``keep.txt``, ``remove.txt``, ``drop.txt``): one line per id, ended by a line feed. A character that some program
takes for the end of a line is written as an escape: ``\n``, ``\r``, ``\u000b``, ``\u000c``, ``\u001c`` … ``\u001e``,
``\u0085``, ``\u2028`` and ``\u2029``. A backslash is doubled. All else stands as it is.

**CSV** (``duplicates.csv``): a text that begins with ``=``, ``+``, ``-``, ``@``, a tab, the end of a line, or the wide form
of one of these signs, gets an apostrophe in front; so does one that begins with an apostrophe. Whoever reads the file
takes one apostrophe off the front of any text that has one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""All characters at which `str.splitlines` splits."""
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", **{char: f"\\u{ord(char):04x}" for char in LINE_ENDS[2:]}}
"""Each escaped character and its escape; the backslash comes first, as the other escapes bring their own."""
_ESCAPED = {escape: char for char, escape in ESCAPES.items()}
_ESCAPE = re.compile("|".join(map(re.escape, _ESCAPED)))
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("\\"))
"""Bytes that stand in a list as they are, whatever is beside them."""
_FORMULA = "\\A(['=+\\-@\\t\\r\\n＝＋－＠])"
"""How a text begins that gets an apostrophe in front, in the syntax of RE2."""


def escaped_lines(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as they stand in a list, without the ends of their lines. Takes and returns ``large_string``."""
    import pyarrow.compute as pc

    if all(map(_is_plain, texts.chunks)):
        return texts
    if not pc.any(pc.match_substring_regex(texts, f"[{re.escape(''.join(ESCAPES))}]")).as_py():
        return texts
    for char, escape in ESCAPES.items():
        texts = pc.replace_substring(texts, char, escape)
    return texts


def _is_plain(texts: pa.LargeStringArray) -> bool:
    """Whether no text needs an escape. It is quick, and says no where it would have to look closer."""
    data = texts.buffers()[2]
    return data is None or not data.to_pybytes().translate(None, _PLAIN)


def id_list_bytes(ids: Iterable[str]) -> bytes:
    """The list of these ids, in their order."""
    escapes = str.maketrans(ESCAPES)
    return "".join(f"{one.translate(escapes)}\n" for one in ids).encode("utf-8", "surrogateescape")


def read_id_list(data: bytes) -> list[str]:
    """The ids of a list. An editor may have ended its lines with carriage returns too, or left out the last line feed."""
    return [one for batch in id_list_batches(io.BytesIO(data)) for one in batch]


def id_list_batches(stream: IO[bytes], block_bytes: int = 1 << 20) -> Iterator[list[str]]:
    """The ids of a list as `read_id_list` reads them, about a block of bytes at a time."""
    rest = b""
    while block := stream.read(block_bytes):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield [_id_of(line) for line in lines]
    if rest:
        yield [_id_of(rest)]


def _id_of(line: bytes) -> str:
    text = line.decode("utf-8", "surrogateescape").removesuffix("\r")
    return _ESCAPE.sub(lambda found: _ESCAPED[found[0]], text) if "\\" in text else text


def safe_cells(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as they stand in a CSV file, before they are quoted."""
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(texts, _FORMULA)).as_py():
        return texts
    return pc.replace_substring_regex(texts, _FORMULA, "'\\1")


def cell_text(cell: str) -> str:
    """The text that `safe_cells` wrote."""
    return cell.removeprefix("'")
