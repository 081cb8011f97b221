"""Folders as values that can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path


def tree(folder: Path, *, hidden: bool = True) -> dict[str, str]:
    """Relative path → digest of every file below."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if hidden or not any(part.startswith(".") for part in Path(name).parts)
    }


def times(folder: Path) -> dict[str, int]:
    """Relative path → modification time in ns, folders included: what any write at all would change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
