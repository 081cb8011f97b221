"""What killed writers leave on a local disk: how it is named, found and removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Long enough that no other program's file begins with it: files that do are removed after a crash.
TEMPORARY_PREFIX = ".curator-tmp-"


def leftovers(root: Path, owned_by: str) -> Iterator[Path]:
    """What killed writers left below a folder, but not in folders that hold an entry named `owned_by`."""
    for parent, folders, names in os.walk(root):
        if owned_by in folders and Path(parent) != root:
            folders.clear()
            continue
        yield from (Path(parent, name) for name in (*folders, *names) if name.startswith(TEMPORARY_PREFIX))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def remove(path: Path) -> bool:
    """Remove a file, or a folder with all that is in it. Always True, so that a caller can count."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return True
