"""Folders as values that can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path


def tree(folder: Path) -> dict[str, str]:
    """Relative path → digest of every file below."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def results(folder: Path) -> dict[str, str]:
    """`tree` without the records of the stages, in hidden folders: they name the input folder, which differs."""
    return {
        name: digest
        for name, digest in tree(folder).items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }


def tree_without_index(folder: Path) -> dict[str, str]:
    """`tree` without the clip index and the records of split: these have quality columns only where frames passed."""
    names = ("clips.parquet", "clip_index", ".curator/split")
    return {name: digest for name, digest in tree(folder).items() if not name.startswith(names)}


def times(folder: Path) -> dict[str, int]:
    """Relative path → modification time in ns, folders included: any write would change one.

    The folders that hold a stage's record are left out: the lock of a run comes and goes there.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.parent.name != ".curator"]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}
