"""For the length of a stage, the client asks an object store once for each thing, and remembers the answer.

What holds until when:

* What other runs write is seen as it was when the stage first looked. What this process writes is noted at once.
* Workers write below the folders whose locks this run holds. When a result of theirs comes, what was seen below these is
  forgotten: so whoever knows that a worker is done sees what it wrote.
* A folder is seen anew when its lock has been taken.
* An object that was there and is gone tells that another run is at work: all is forgotten.

Only the thread that runs the stage remembers; others, such as the one that renews a lock, always ask.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar

from curator_dask.files.object_store.seen import Seen

MOST_BYTES = 1 << 18
"""Larger objects that are written are not remembered."""

_CURRENT: ContextVar[Seen | None] = ContextVar("_CURRENT", default=None)
_ALL: list[Seen] = []
"""What stages of this process have seen that run now."""
_HELD: Counter[str] = Counter()
"""The folders whose locks this process holds."""


@contextlib.contextmanager
def asking_once() -> Iterator[None]:
    """Remember what is asked for within the block. A block within another one shares its memory."""
    if _CURRENT.get() is not None:
        yield
        return
    seen = Seen()
    _ALL.append(seen)
    before = _CURRENT.set(seen)
    try:
        yield
    finally:
        _CURRENT.reset(before)
        _ALL.remove(seen)


@contextlib.contextmanager
def asking_afresh() -> Iterator[None]:
    """Ask for everything within the block, whatever was seen: for what other processes tell each other by."""
    before = _CURRENT.set(None)
    try:
        yield
    finally:
        _CURRENT.reset(before)


@contextlib.contextmanager
def holding_folder(path: str) -> Iterator[None]:
    """During the block, this process holds the lock of a folder (``bucket/key``), and its workers write below it."""
    _HELD[path] += 1
    for seen in _ALL:
        seen.forget_below([path])
    try:
        yield
    finally:
        _HELD[path] -= 1
        for seen in _ALL:
            seen.forget_below([path])


def workers_wrote() -> None:
    """A result of a worker has come: forget what it may have written."""
    held = [path for path, number in _HELD.items() if number]
    for seen in _ALL:
        if held:
            seen.forget_below(held)
        else:
            seen.forget()


def current() -> Seen | None:
    """What the stage of this thread has seen; None where nothing is remembered."""
    return _CURRENT.get()


def note_change(path: str, data: bytes | None = None) -> None:
    """This process has written or removed an object; `data`: what it holds now."""
    is_kept = data is not None and len(data) <= MOST_BYTES and _is_held(path)
    for seen in _ALL:
        seen.change(path, data if is_kept else None)


def note_missing(path: str) -> None:
    """An object is not there. Where one was seen, another process works there."""
    for seen in _ALL:
        if seen.shows(path):
            seen.forget()


def _is_held(path: str) -> bool:
    return any(number and path.startswith(f"{folder}/") for folder, number in _HELD.items())
