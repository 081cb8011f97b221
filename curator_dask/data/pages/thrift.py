"""Structs in Thrift's compact form, in which a Parquet file describes its pages and itself: read, changed, and written again.

What is read and written without a change has the same bytes. It is for bytes that Arrow has just written in this process,
also those of a stranger's footer: the form itself is not checked. Maps and floats have no place in these structs (the form:
github.com/apache/thrift, thrift-compact-protocol).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

YES, NO, BYTE, SHORT, INT, LONG, BYTES, LIST, STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12
"""The types of fields. A field of a truth value has its value in its type."""
INTEGERS = (SHORT, INT, LONG)


@dataclass
class Field:
    """A field of a struct; its value is an integer, a truth value, bytes, a `Struct` or a `ListOf`."""

    kind: int
    value: Any


Struct = dict[int, Field]
"""Fields by their numbers."""


@dataclass
class ListOf:
    """Values of one type."""

    kind: int
    values: list[Any]


def read_struct(data: bytes | memoryview, at: int = 0) -> tuple[Struct, int]:
    """The struct that begins at byte `at`, and where it ends. Raises ValueError for types that no such struct has."""
    found: Struct = {}
    number = 0
    while data[at]:
        head, at = data[at], at + 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_integer(data, at)
        found[number] = Field(head & 15, None)
        found[number].value, at = (head & 15 == YES, at) if head & 15 in (YES, NO) else _read(data, at, head & 15)
    return found, at + 1


def _read(data: bytes | memoryview, at: int, kind: int) -> tuple[Any, int]:
    if kind in INTEGERS:
        return _read_integer(data, at)
    if kind == BYTES:
        size, at = read_varint(data, at)
        return bytes(data[at : at + size]), at + size
    if kind == STRUCT:
        return read_struct(data, at)
    if kind == LIST:
        return _read_list(data, at)
    if kind in (YES, NO, BYTE):
        return data[at], at + 1
    raise ValueError(f"a value of type {kind} is not expected here")


def _read_list(data: bytes | memoryview, at: int) -> tuple[ListOf, int]:
    kind, size, at = data[at] & 15, data[at] >> 4, at + 1
    if size == 15:
        size, at = read_varint(data, at)
    found = ListOf(kind, [])
    for _ in range(size):
        value, at = _read(data, at, kind)
        found.values.append(value)
    return found, at


def _read_integer(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return (value >> 1) ^ -(value & 1), at + 1
    value, at = read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """An integer that is not negative, and where it ends. Raises ValueError if it needs more than 64 bits."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError("not a number")
    return value | data[at] << shift, at + 1


def struct_bytes(struct: Struct) -> bytes:
    """A struct as `read_struct` reads it. Raises ValueError for types that no such struct has."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def _write_struct(out: bytearray, struct: Struct) -> None:
    last = 0
    for number, field in struct.items():
        kind = (YES if field.value else NO) if field.kind in (YES, NO) else field.kind
        if 0 < number - last < 16:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        if kind not in (YES, NO):
            _write(out, field.value, kind)
        last = number
    out.append(0)


def _write(out: bytearray, value: Any, kind: int) -> None:
    if kind in INTEGERS:
        _write_integer(out, value)
    elif kind == BYTES:
        out += varint_bytes(len(value)) + value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind == LIST:
        size = len(value.values)
        out += bytes([size << 4 | value.kind]) if size < 15 else bytes([0xF0 | value.kind]) + varint_bytes(size)
        for one in value.values:
            _write(out, one, value.kind)
    elif kind in (YES, NO, BYTE):
        out.append(value)
    else:
        raise ValueError(f"a value of type {kind} is not expected here")


def _write_integer(out: bytearray, value: int) -> None:
    if -64 <= value < 64:
        out.append(value << 1 if value >= 0 else (-value << 1) - 1)
    else:
        out += varint_bytes(value << 1 if value >= 0 else (-value << 1) - 1)


def varint_bytes(value: int) -> bytes:
    """An integer that is not negative, seven bits a byte."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
