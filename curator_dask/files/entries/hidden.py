"""Hidden names, which begin with a dot: which paths lie below one, and one entry in place of all that does."""

from __future__ import annotations

from collections.abc import Iterable

from curator_dask.files.entries.entry import HIDDEN, Entry


def is_hidden(path: str) -> bool:
    """Whether a name in a path, relative to a folder, is hidden."""
    return path[0] == "." or "/." in path


def with_hidden_as_one(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with one in place of each hidden file and of all that lies below a hidden folder."""
    return list({entry.path: entry for entry in map(_hidden_or_itself, entries)}.values())


def _hidden_or_itself(entry: Entry) -> Entry:
    parts = entry.path.split("/")
    first = next((number for number, part in enumerate(parts) if part.startswith(".")), None)
    if first is None:
        return entry
    is_folder = first + 1 < len(parts)
    return Entry("/".join(parts[: first + 1]) + ("/" if is_folder else ""), 0, "", HIDDEN)
