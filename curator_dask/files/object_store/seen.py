"""What was seen of object stores: listings, single objects, and what was written. It knows names only and asks nobody.

Paths are those of the driver, ``bucket/key``. A *deep* listing holds all objects below a folder, another one those of the
folder itself. What changes afterwards is noted in each listing that covers it, and questions which that touches are left
open, so they are asked anew.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

MOST_OBJECTS = 20_000
"""Objects that are remembered of all listings together; a longer listing is not kept at all. It takes about 5 MB."""
MOST_WRITTEN_BYTES = 8 << 20

Found = tuple[int, str]
"""Bytes and version of an object. The version is "" where it is not known."""


@dataclass(frozen=True)
class Listing:
    """What a store told of one folder at one moment."""

    store: str
    folder: str
    deep: bool
    objects: Mapping[str, Found]
    """Name below the folder → what is there."""
    changed: set[str] = field(default_factory=set)
    """Names that may be different by now. One that ends in a slash stands for all that begin so."""

    def covers(self, folder: str, *, deep: bool) -> bool:
        """Whether it answers what lies in a folder."""
        if self.folder == folder:
            name = ""
        elif self.deep and folder.startswith(f"{self.folder}/"):
            name = f"{folder[len(self.folder) + 1 :]}/"
        else:
            return False
        return (self.deep or not deep) and not any(_touches(one, name, deep) for one in self.changed)

    def below(self, folder: str, *, deep: bool) -> dict[str, Found]:
        """The objects of a folder that it covers."""
        start = len(folder) - len(self.folder)
        prefix = f"{folder[len(self.folder) + 1 :]}/" if start else ""
        found = {name[len(prefix) :]: one for name, one in self.objects.items() if name.startswith(prefix)}
        return found if deep else {name: one for name, one in found.items() if "/" not in name}

    def tells(self, path: str) -> bool:
        """Whether it answers what is at a path."""
        name = path[len(self.folder) + 1 :]
        if not path.startswith(f"{self.folder}/") or ("/" in name and not self.deep):
            return False
        return not any(name == one or (one[-1] == "/" and name.startswith(one)) for one in self.changed)

    def note(self, path: str) -> None:
        """Note that an object is not what it was; a path that ends in a slash stands for all below it."""
        if path.startswith(f"{self.folder}/"):
            self.changed.add(path[len(self.folder) + 1 :])


def _touches(changed: str, prefix: str, deep: bool) -> bool:
    """Whether a change is one of what lies below a prefix, or directly below it."""
    if changed[-1] == "/" and prefix.startswith(changed):
        return True
    return changed.startswith(prefix) and (deep or "/" not in changed[len(prefix) :])


class Seen:
    """All that was seen. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._listings: list[Listing] = []
        self._objects: dict[tuple[str, str], Found | None] = {}
        """Store and path → what was there, of objects that were asked for one by one."""
        self._long: set[tuple[str, str]] = set()
        self._written: dict[str, bytes] = {}
        self.moment = 0
        """Grows with each change: what was asked for before it is not kept after it."""

    def listing(self, store: str, folder: str, *, deep: bool) -> dict[str, Found] | None:
        """Name → what is there, of all objects below a folder, or of those in it; None where it is to be asked for."""
        with self._lock:
            for one in reversed(self._listings):
                if one.store == store and one.covers(folder, deep=deep):
                    return one.below(folder, deep=deep)
        return None

    def keep(self, moment: int, listing: Listing) -> None:
        """Keep a listing that was asked for at this moment."""
        with self._lock:
            kept = sum(len(one.objects) for one in self._listings)
            if moment == self.moment and kept + len(listing.objects) <= MOST_OBJECTS:
                self._listings.append(listing)

    def is_long(self, store: str, folder: str) -> bool:
        """Whether the folder is known to hold more than one answer of the store can tell."""
        return (store, folder) in self._long

    def note_long(self, store: str, folder: str) -> None:
        self._long.add((store, folder))

    def object(self, store: str, path: str) -> tuple[bool, Found | None]:
        """Whether it is known what is at a path, and what it is: None for nothing."""
        with self._lock:
            if path in self._written:
                return True, (len(self._written[path]), "")
            if (store, path) in self._objects:
                return True, self._objects[store, path]
            for one in reversed(self._listings):
                if one.store == store and one.tells(path):
                    return True, one.objects.get(path[len(one.folder) + 1 :])
            return False, None

    def shows(self, path: str) -> bool:
        """Whether an object was seen at a path."""
        with self._lock:
            stores = {one.store for one in self._listings} | {store for store, _ in self._objects}
            return any(self.object(store, path)[1] is not None for store in stores)

    def keep_object(self, moment: int, store: str, path: str, found: Found | None) -> None:
        """Keep what was at a path at this moment."""
        with self._lock:
            if len(self._objects) >= MOST_OBJECTS:
                self._objects.clear()
            if moment == self.moment:
                self._objects[store, path] = found

    def written(self, path: str) -> bytes | None:
        """What this process wrote there last, where it is remembered."""
        return self._written.get(path)

    def change(self, path: str, data: bytes | None = None) -> None:
        """Note that an object was written or removed; `data`: what it holds now, if nobody else writes it."""
        with self._lock:
            self.moment += 1
            for one in self._listings:
                one.note(path)
            self._objects = {key: found for key, found in self._objects.items() if key[1] != path}
            self._written.pop(path, None)
            if data is not None:
                if sum(map(len, self._written.values())) + len(data) > MOST_WRITTEN_BYTES:
                    self._written.clear()
                self._written[path] = data

    def forget_below(self, folders: Collection[str]) -> None:
        """Forget what lies below these folders."""
        prefixes = tuple(f"{folder}/" for folder in folders)
        with self._lock:
            self.moment += 1
            self._listings = [one for one in self._listings if not f"{one.folder}/".startswith(prefixes)]
            for one in self._listings:
                for prefix in prefixes:
                    one.note(prefix)
            self._long = {key for key in self._long if not f"{key[1]}/".startswith(prefixes)}
            self._objects = {key: one for key, one in self._objects.items() if not key[1].startswith(prefixes)}
            self._written = {path: data for path, data in self._written.items() if not path.startswith(prefixes)}

    def forget(self) -> None:
        """Forget all."""
        with self._lock:
            self.moment += 1
            self._listings, self._objects, self._long, self._written = [], {}, set(), {}


def named(objects: Iterable[tuple[str, int, str]]) -> dict[str, Found]:
    """What a listing tells, by name."""
    return {name: (num_bytes, version) for name, num_bytes, version in objects}
