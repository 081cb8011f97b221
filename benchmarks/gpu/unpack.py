"""On the GPU machine: put the parts of archives aside as they come, and unpack an archive once all its parts are there.

    python -m benchmarks.gpu.unpack          (`run.sh` does it first)

The parts come in ``.gpu/``, see `prepare.sh`. Each call may bring some of them; they are copied to ``$GPU_STASH`` (by default
``curator-gpu`` in the folder for temporary files), so a later call finds them. A part whose SHA-256 is wrong is not taken;
what needs no archive runs all the same.
"""

from __future__ import annotations

import compileall
import hashlib
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = "parts.txt"
WHOLE = ".whole"
"""A file in an unpacked archive that says that it is complete."""


def main() -> None:
    for line in unpack(ROOT / ".gpu", stash()):
        print(line, flush=True)


def stash() -> Path:
    return Path(os.environ.get("GPU_STASH") or Path(tempfile.gettempdir(), "curator-gpu"))


def unpack(brought: Path, kept: Path) -> list[str]:
    """Take in what was brought; returns what happened, in words."""
    if not (brought / PARTS).exists():
        return []
    told = []
    sums = sums_of(brought / PARTS)
    for name, digest in sums.items():
        part, place = brought / name, kept / "parts" / name
        if part.exists() and not (place.exists() and digest_of(place) == digest):
            told.append(take_in(part, place, digest))
    for archive in sorted({name.partition("/")[0] for name in sums}):
        parts = [kept / "parts" / name for name in sums if name.startswith(f"{archive}/")]
        if all(part.exists() for part in parts) and not (kept / archive / WHOLE).exists():
            told.append(open_archive(parts, kept / archive))
    return told


def sums_of(path: Path) -> dict[str, str]:
    """The SHA-256 of each part, by its name below ``.gpu``, in the order in which they are joined."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return {name.partition(".gpu/")[2] or name: digest for digest, name in lines}


def take_in(part: Path, place: Path, digest: str) -> str:
    name = f"{part.parent.name}/{part.name}"
    if digest_of(part) != digest:
        return f"{name} is damaged: its SHA-256 is not that of {PARTS}; bring it again"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(part, place)
    # What was unpacked from another part is not this archive.
    (place.parents[2] / place.parent.name / WHOLE).unlink(missing_ok=True)
    return f"{name} is here"


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_archive(parts: list[Path], folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with Joined(parts) as joined, tarfile.open(fileobj=joined, mode="r|xz") as archive:  # type: ignore[call-overload]
            archive.extractall(folder, filter="tar")
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:  # a full disk, or parts of two archives
        return f"{folder.name} cannot be unpacked: {type(error).__name__}: {error}"
    # On all cores at once; else the first step that imports it would pay.
    compileall.compile_dir(folder, quiet=2, workers=0)
    (folder / WHOLE).touch()
    return f"{folder.name} is unpacked"


class Joined:
    """Several files, read as one."""

    def __init__(self, paths: list[Path]) -> None:
        self._pieces = self._read(paths)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()

    @staticmethod
    def _read(paths: list[Path]) -> Generator[bytes, None, None]:
        for path in paths:
            with path.open("rb") as file:
                yield from iter(lambda file=file: file.read(1 << 20), b"")


if __name__ == "__main__":
    sys.exit(main())
