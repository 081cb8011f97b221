"""Which videos there are: a folder, one file, a glob or an fsspec URL, as a list in path order."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from curator_dask.errors import InputError, ParameterError
from curator_dask.storage import Entry, Folder

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".ts")


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One video file of the input."""

    path: str
    """Full path as listed, without protocol: what clip ids are made of."""
    relative_path: str
    """Below the folder that was searched."""
    num_bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class VideoListing:
    folder: Folder
    videos: tuple[SourceVideo, ...]
    num_beyond_limit: int
    """Videos that the limit left out."""


def list_videos(folder: Folder, *, limit: int | None = None) -> VideoListing:
    """All videos below `folder`, which may also be one file or a glob; the first `limit` of them in path order.

    Hidden files are left out. Whether a file really is a video is found when it is opened, so that it can be recorded.
    Raises InputError if nothing is there or nothing looks like a video.
    """
    if limit is not None and limit < 0:
        raise ParameterError(f"video_limit ({limit}) must be >= 0")
    root, entries = _search(folder)
    videos = [
        SourceVideo(root.join(entry.path), entry.path, entry.num_bytes, entry.version)
        for entry in entries
        if PurePosixPath(entry.path).suffix.lower() in VIDEO_SUFFIXES
    ]
    if not videos:
        raise InputError(_nothing_found(folder, len(entries)))
    kept = videos if not limit else videos[:limit]
    return VideoListing(root, tuple(kept), len(videos) - len(kept))


def source_folder(folder: Folder) -> Folder:
    """The folder that relative paths of a listing start from: of one file its parent, of a glob its fixed part."""
    return _search(folder)[0]


def _search(folder: Folder) -> tuple[Folder, list[Entry]]:
    if glob.has_magic(folder.url) and not folder.exists():
        parts = folder.url.split("/")
        fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        root = Folder("/".join(parts[:fixed]) or ("/" if folder.url.startswith("/") else "."), folder.storage_options)
        pattern = "/".join(parts[fixed:])
        return root, [entry for entry in root.entries() if _matches(entry.path, pattern)]
    if folder.fs.isfile(folder.root):
        parent, _, name = folder.url.rpartition("/")
        root = Folder(parent or ("/" if folder.url.startswith("/") else "."), folder.storage_options)
        return root, [entry for entry in root.entries() if entry.path == name]
    return folder, folder.entries()


def _matches(path: str, pattern: str) -> bool:
    """Glob match by path parts; ``**`` stands for any number of folders."""
    return _match_parts(path.split("/"), pattern.split("/"))


def _match_parts(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match_parts(parts[skip:], patterns[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match_parts(parts[1:], patterns[1:])


def _nothing_found(folder: Folder, num_files: int) -> str:
    if not num_files:
        state = "is empty" if folder.exists() else "does not exist"
        return f"no videos: {folder.url} {state}"
    return f"no videos: none of the {num_files} files in {folder.url} ends with {' '.join(VIDEO_SUFFIXES)}"
