"""List the videos of a folder, a single file, a glob or an fsspec URL, in path order."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.entries.entry import HIDDEN, Entry
from curator_dask.files.folder import Folder
from curator_dask.files.globs import chooses, matches, may_match_below
from curator_dask.files.left_out import (
    BEYOND_LIMIT,
    EXCLUDED,
    NO_VIDEO,
    OUTPUT,
    LeftOut,
    count_endings,
    describe_left_out,
    num_left_out,
)
from curator_dask.files.names import counted
from curator_dask.files.own_output import OwnOutput

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


@dataclass(frozen=True)
class VideoChoice:
    """Which of the videos of a folder are listed. Nothing in it changes what is made of a video."""

    include: str | Sequence[str] | None = ()
    """Globs, see `globs.chooses`; only files that one of them chooses are listed. Empty: all."""
    exclude: str | Sequence[str] | None = ()
    """Globs; files that one of them chooses are left out."""
    limit: int | None = None
    """Only so many videos, the first in path order; None or 0: all."""
    follow_links: bool = False
    """Also list what symbolic links out of the folder lead to."""
    output: Folder | None = None
    """The folder that results go to; no file of it is listed."""
    lists_clips: bool = False
    """The clips of an output folder are the videos that are looked for."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ParameterError(f"video_limit ({self.limit}) must be >= 0")

    def takes(self, path: str) -> bool:
        """Whether the globs choose a path."""
        included, excluded = _patterns(self.include), _patterns(self.exclude)
        chosen = not included or any(chooses(path, pattern) for pattern in included)
        return chosen and not any(chooses(path, pattern) for pattern in excluded)


@dataclass(frozen=True, slots=True)
class VideoListing:
    folder: Folder
    videos: tuple[SourceVideo, ...]
    left_out: LeftOut = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The files found are the videos and those left out. Videos that the limit left out count as found and skipped."""
        left_out, skipped = num_left_out(self.left_out), sum(self.left_out.get(BEYOND_LIMIT, {}).values())
        return {
            "files_found": len(self.videos) + left_out,
            "files_left_out": left_out,
            "videos_found": len(self.videos) + skipped,
            "videos_skipped": skipped,
        }


def list_videos(folder: Folder, choice: VideoChoice | None = None) -> VideoListing:
    """The videos below `folder`, which may also be one file or a glob, in path order; all others are counted by reason.

    Whether a file really is a video is found when it is opened, so that it can be recorded.
    Raises InputError if nothing is there or no video is left.
    """
    choice = choice or VideoChoice()
    root, name = _divide(folder)
    entries = _find(root, name, follow_links=choice.follow_links)
    own_output = OwnOutput.seen_from(root, choice.output, clips_too=not choice.lists_clips)
    foreign = entries if own_output is None else [entry for entry in entries if entry.path not in own_output]
    videos, left_out = _sort_out(foreign, choice)
    if own_output is not None and own_output.is_reached_by(name):
        left_out[OUTPUT] = {}
    if not videos:
        of_output: LeftOut = {OUTPUT: {}} if len(foreign) < len(entries) else {}
        raise InputError(_say_why_none(folder, len(entries), {**left_out, **of_output}))
    found = (SourceVideo(root.join(entry.path), entry.path, entry.num_bytes, entry.version) for entry in videos)
    return VideoListing(root, tuple(found), left_out)


def refuse_missing_videos(folder: Folder) -> None:
    """Raise InputError, without listing it, where a folder, file or glob of videos is not there at all."""
    root, _ = _divide(folder)
    if not root.exists():
        raise InputError(_say_why_none(folder, 0, {}))


def _sort_out(entries: Iterable[Entry], choice: VideoChoice) -> tuple[list[Entry], dict[str, dict[str, int]]]:
    """The videos that are chosen, and the numbers of all other files by their reasons."""
    videos: list[Entry] = []
    others: dict[str, list[str]] = {}
    for entry in entries:
        reason = _reason(entry, choice) or (BEYOND_LIMIT if choice.limit and len(videos) == choice.limit else "")
        if reason:
            others.setdefault(reason, []).append(entry.path)
        else:
            videos.append(entry)
    return videos, {reason: count_endings(paths) for reason, paths in others.items()}


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


def _find(root: Folder, name: str, *, follow_links: bool) -> list[Entry]:
    if not name:
        return root.all_entries(follow_links=follow_links)
    if "/" not in name and (one := root.entry(name)) is not None:
        return [one]  # named by the user, so it may be hidden or a link
    # No deeper than the glob can reach: "/data/*.mp4" must not walk all that lies below /data.
    depth = None if "**" in name.split("/") else name.count("/") + 1
    found = root.all_entries(max_depth=depth, follow_links=follow_links)
    return [entry for entry in found if _is_meant(entry, name)]


def _is_meant(entry: Entry, pattern: str) -> bool:
    """Whether a glob stands for a file, or for something in a folder that was passed over. It names no hidden ones."""
    if entry.passed_over == HIDDEN:
        return False
    return may_match_below(entry.path[:-1], pattern) if entry.path.endswith("/") else matches(entry.path, pattern)


def _reason(entry: Entry, choice: VideoChoice) -> str:
    """Why a file is left out; "" if it is not."""
    if entry.passed_over:
        return entry.passed_over
    if PurePosixPath(entry.path).suffix.lower() not in VIDEO_SUFFIXES:
        return NO_VIDEO
    return "" if choice.takes(entry.path) else EXCLUDED


def _patterns(given: str | Sequence[str] | None) -> Sequence[str]:
    return [given] if isinstance(given, str) else given or ()


def _say_why_none(folder: Folder, num_files: int, left_out: LeftOut) -> str:
    if not num_files:
        is_glob = glob.has_magic(folder.url) and not folder.exists()
        state = "matches no file" if is_glob else "is empty" if folder.exists() else "does not exist"
        return f"no videos: {folder.url} {state}"
    reasons = "; ".join(describe_left_out(left_out))
    told = f"no videos: of {counted(num_files, 'files')} in {folder.url}, {reasons}"
    return f"{told}. Videos end with {' '.join(VIDEO_SUFFIXES)}" if NO_VIDEO in left_out else told
