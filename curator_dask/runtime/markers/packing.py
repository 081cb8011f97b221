"""Put loose markers into batches, and batches into larger ones. Only the client of a run does this.

At each moment everything that is known lies in at least one file: a batch is written whole before anything that it
replaces is removed. What a killed client leaves twice says the same twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from curator_dask.files.entries.entry import Entry
from curator_dask.files.object_store.asking_once import asking_afresh
from curator_dask.runtime.markers.batches import MOST_BYTES, Batch, Batches
from curator_dask.runtime.markers.lines import (
    key_of,
    line_of,
    line_of_forgotten,
    place_of,
)
from curator_dask.runtime.markers.markers import Markers, Record

MOST_LOOSE = 2000
"""So many markers may be files of their own. Fewer are read in a tenth of a second."""
LARGEST_BYTES = 1 << 12
"""Larger markers stay files of their own: their units wrote several files anyway, and batches stay quick to read."""
PACKED_BYTES = 1 << 25
"""At most about so many bytes of loose markers become one batch."""


class Packable(Record, Protocol):
    """What packing knows of the record of a unit."""

    @property
    def is_done(self) -> bool: ...
    def fields(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=Packable)


def pack(markers: Markers[P]) -> set[str]:
    """Put the loose markers into batches, if there are many; returns the keys of the units that had one.

    Large ones stay, and those of units with open failures, as these are done again.
    """
    entries = markers.loose_entries()
    small = [entry for entry in entries if entry.num_bytes <= LARGEST_BYTES]
    if len(small) >= MOST_LOOSE:
        with contextlib.suppress(FileNotFoundError):  # a worker forgot a unit meanwhile: the next call packs the others
            for some in _portions(small):
                _pack_some(markers, some)
    return {markers.key_of_loose(entry.path) for entry in entries}


def _portions(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    some: list[Entry] = []
    num_bytes = 0
    for entry in entries:
        some.append(entry)
        num_bytes += entry.num_bytes
        if num_bytes >= PACKED_BYTES:
            yield some
            some, num_bytes = [], 0
    if some:
        yield some


def _pack_some(markers: Markers[P], entries: Sequence[Entry]) -> None:
    versions = {entry.path: entry.version for entry in entries}
    done = {path: record for path, record in _read(markers, list(versions)) if record.is_done}
    if not done:
        return
    add(markers.batches, [line_of(record.key, record.fields()) for record in done.values()])
    # A worker that was thought dead may have written a marker anew: that one stays.
    with asking_afresh():
        now = {entry.path: entry.version for entry in markers.loose_entries()}
    markers.folder.remove_many([path for path in done if now.get(path) == versions[path]])


def _read(markers: Markers[P], paths: Sequence[str]) -> Iterator[tuple[str, P]]:
    for path, data in markers.folder.read_many(paths):
        if record := markers.parsed(path, data):
            yield path, record


def forget(markers: Markers[P], keys: Iterable[str]) -> None:
    """Note that these units, which lie in batches, are not part of the stage any more."""
    lines = [line_of_forgotten(key) for key in sorted(keys, key=place_of)]
    if lines:
        add(markers.batches, lines)


def add(batches: Batches, lines: Iterable[bytes]) -> None:
    """Write a batch with these lines, of different units, and with what the last batches hold that are not much larger.

    So the number of batches grows with the logarithm of that of the units, and so does how often each line is copied.
    """
    held = batches.listed()
    number = held[-1].number + 1 if held else 1
    newest = {place_of(key_of(line)): line for line in lines}
    joined = _to_join(held, sum(map(len, newest.values())))
    damaged = _join(batches, joined, newest)
    if len(joined) == len(held):  # nothing older is left to be hidden
        newest = {place: line for place, line in newest.items() if not _is_forgotten(line)}
    if newest or damaged:
        batches.write(number, [*(newest[place] for place in sorted(newest)), *damaged])
    batches.remove(joined)


def _to_join(held: Sequence[Batch], num_bytes: int) -> list[Batch]:
    joined: list[Batch] = []
    for batch in reversed(held):
        if batch.num_bytes > 2 * num_bytes or batch.num_bytes + num_bytes > MOST_BYTES:
            break
        joined.append(batch)
        num_bytes += batch.num_bytes
    return joined


def _join(batches: Batches, joined: Sequence[Batch], newest: dict[str, bytes]) -> list[bytes]:
    """Add the lines of batches, the newest first, to those that replace them; returns lines that cannot be read, as they are."""
    unreadable: list[bytes] = []
    for batch in joined:
        for whole, damaged in batches.lines(batch):
            for line in whole:
                newest.setdefault(place_of(key_of(line)), line)
            unreadable += damaged
    return unreadable


def _is_forgotten(line: bytes) -> bool:
    return line == line_of_forgotten(key_of(line))


def drop_damaged(batches: Batches) -> None:
    """Write batches with damaged lines anew, without these."""
    for batch in batches.listed():
        parts = list(batches.lines(batch))
        if any(damaged for _, damaged in parts):
            kept = [line for whole, _ in parts for line in whole]
            if kept:
                batches.write(batch.number, kept)
            batches.remove([batch])
