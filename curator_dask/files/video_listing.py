"""List the videos of a folder, a single file, a glob or an fsspec URL, in path order."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.folder import Entry, Folder

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".ismv", ".mj2",  # MP4 and QuickTime
    ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".flv", ".wmv", ".asf", ".ogv", ".ogm", ".rm", ".rmvb", ".wtv",
    ".ts", ".mts", ".m2ts", ".m2t", ".trp", ".tod",  # MPEG transport streams
    ".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".mod", ".m1v", ".m2v", ".mpv",  # MPEG program streams, bare MPEG video
    ".mxf", ".dv", ".gif",
)  # fmt: skip
"""Endings of the containers that ffmpeg may open here (``FORMAT_WHITELIST``) and that hold videos as a rule; in any case
of letters."""


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One video file of the input."""

    path: str
    """Full path as listed, without protocol; clip ids are computed from it."""
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
    root, name = _divide(folder)
    entries = _find(root, name)
    videos = [
        SourceVideo(root.join(entry.path), entry.path, entry.num_bytes, entry.version)
        for entry in entries
        if PurePosixPath(entry.path).suffix.lower() in VIDEO_SUFFIXES
    ]
    if not videos:
        raise InputError(_say_why_none(folder, len(entries)))
    kept = videos if not limit else videos[:limit]
    return VideoListing(root, tuple(kept), len(videos) - len(kept))


def source_folder(folder: Folder) -> Folder:
    """The folder that relative paths of a listing start from: the parent of a single file, or the fixed part of a glob."""
    return _divide(folder)[0]


def _divide(folder: Folder) -> tuple[Folder, str]:
    """A folder to search, and in it the name of one file, a glob, or nothing for all that is there."""
    if not folder.is_local and glob.has_magic("/".join(_parts(folder)[:3])):  # s3: / / bucket
        raise ParameterError(f"{folder.url}: name the bucket; a glob may stand for what is in it")
    if glob.has_magic(folder.url) and not folder.exists():
        return _divide_before(folder, next(n for n, part in enumerate(_parts(folder)) if glob.has_magic(part)))
    if folder.is_file():
        return _divide_before(folder, len(_parts(folder)) - 1)
    return folder, ""


def _divide_before(folder: Folder, number: int) -> tuple[Folder, str]:
    parts = _parts(folder)
    url = "/".join(parts[:number]) or ("/" if folder.url.startswith("/") else ".")
    return Folder(url, folder.storage_options), "/".join(parts[number:])


def _parts(folder: Folder) -> list[str]:
    return folder.url.rstrip("/").split("/")


def _find(root: Folder, name: str) -> list[Entry]:
    if not name:
        return root.entries()
    if "/" not in name and (one := root.entry(name)) is not None:
        return [one]
    # No deeper than the glob can reach: "/data/*.mp4" must not walk all that lies below /data.
    depth = None if "**" in name.split("/") else name.count("/") + 1
    return [entry for entry in root.entries(max_depth=depth) if _matches(entry.path, name)]


def _matches(path: str, pattern: str) -> bool:
    """Glob match by path parts; ``**`` stands for any number of folders."""
    return _match_parts(path.split("/"), pattern.split("/"))


def _match_parts(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match_parts(parts[skip:], patterns[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match_parts(parts[1:], patterns[1:])


def _say_why_none(folder: Folder, num_files: int) -> str:
    if not num_files:
        is_glob = glob.has_magic(folder.url) and not folder.exists()
        state = "matches no file" if is_glob else "is empty" if folder.exists() else "does not exist"
        return f"no videos: {folder.url} {state}"
    return f"no videos: none of the {num_files} files in {folder.url} ends with {' '.join(VIDEO_SUFFIXES)}"
