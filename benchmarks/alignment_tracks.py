"""The tracks of real videos and of their edited copies, for `benchmarks.alignment`.

A copy is decoded once, for all clips of all lengths and shifts. Its tracks are kept in a folder, so a second run of the
benchmark with the same folder only compares them.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from curator_dask.data.beside_vectors.track_files import TrackRow, read_tracks, write_tracks
from curator_dask.dedup.align.line import ClipTrack, Line, lay_out
from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.models.pdqf import pdq
from curator_dask.models.pdqf.letterbox import without_bars
from curator_dask.models.pdqf.track import FRAMES_PER_SECOND, TRACK_VERSION, track_of_frames
from curator_dask.video.edits import Edit, write_edit
from curator_dask.video.frames.read import read_source_frames
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.process.ffmpeg import ffmpeg_path
from curator_dask.video.spans import Span

MOST_S = 60.0
LEAST_S = 4.0
RULE = FrameRule.rate(FRAMES_PER_SECOND, width=pdq.SIDE, height=pdq.SIDE)


@dataclass(frozen=True)
class Cut:
    """How a video is cut into clips."""

    seconds: float
    """The length of a clip."""
    begins_s: float
    """Where the first clip begins: what lies before it is left out."""


@dataclass(frozen=True)
class Video:
    """One line, and what it was made from."""

    name: str
    cut: Cut
    shift_s: float
    """Where the copy begins in the original: the shift, and what the edit cuts off."""
    line: Line


def small_copies(folders: Iterable[str], target: Path, lines: int) -> list[VideoInfo]:
    """The videos of 4 s and more in the folders, scaled down and cut to a minute."""
    target.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for folder in folders for path in Path(folder).iterdir() if path.suffix != ".json")
    return [info for path in paths if (info := _small_copy(path, target / f"{path.name}.mp4", lines))]


def _small_copy(path: Path, small: Path, lines: int) -> VideoInfo | None:
    scale = f"scale=-2:min({lines}\\,ih),scale=trunc(iw/2)*2:trunc(ih/2)*2"
    argv = [ffmpeg_path(), "-y", "-v", "error", "-nostdin", "-i", str(path), "-t", str(MOST_S), "-an", "-threads", "1"]
    argv += ["-vf", scale, "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", str(small)]
    if not small.exists() and subprocess.run(argv, capture_output=True, check=False).returncode:
        small.unlink(missing_ok=True)
    try:
        info = probe_video(small) if small.exists() else None
    except MediaError:
        return None
    return info if info and info.duration_s and info.duration_s >= LEAST_S else None


def videos_of(info: VideoInfo, edit: Edit | None, cuts: Sequence[Cut], folder: Path) -> Iterator[Video]:
    """One line per way of cutting an edited copy of the video. Lines that show nothing are left out."""
    key = repr((info.path.name, edit, cuts, TRACK_VERSION, MOST_S, info.height))
    path = f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.parquet"
    tracks = Folder(str(folder / "tracks"))
    if not (folder / "tracks" / path).exists():
        (folder / "tracks").mkdir(exist_ok=True)
        write_tracks(tracks, path, list(_track_rows(info, edit, cuts, folder)))
    clips: dict[str, list[ClipTrack]] = {}
    for row in read_tracks(tracks, [path]):
        clips.setdefault(row.source, []).append(row.track)
    trimmed_s = edit.trim_s[0] if edit else 0.0
    for cut in cuts:
        line = lay_out(clips.get(repr(cut), []))
        if line.usable.any():
            yield Video(info.path.name, cut, cut.begins_s + trimmed_s, line)


def _track_rows(info: VideoInfo, edit: Edit | None, cuts: Sequence[Cut], folder: Path) -> Iterator[TrackRow]:
    copy = info
    if edit:
        path = folder / "copy.mp4"
        try:
            write_edit(info, edit, path)
            copy = probe_video(path)
        except MediaError:
            return
    places = sorted((place for cut in cuts for place in _clips(copy, cut)), key=lambda place: place[:2])
    spans = [Span(i, start_s, end_s) for i, (start_s, end_s, _) in enumerate(places)]
    for span, frames in read_source_frames(copy, spans, RULE) if spans else ():
        if isinstance(frames, MediaError):
            continue
        picture = torch.from_numpy(without_bars(frames).copy())
        track = track_of_frames(pdq.describe_frames(picture), pdq.luma(picture))
        cut = places[span.index][2]
        clip = ClipTrack(span.start_s - cut.begins_s, track.windows, track.usable, track.stills, track.pictures)
        yield TrackRow(f"{span.index:06}", repr(cut), clip)


def _clips(info: VideoInfo, cut: Cut) -> list[tuple[float, float, Cut]]:
    """Start and end of each clip, in seconds of the copy. Clips under two seconds are left out."""
    duration_s = info.duration_s or 0.0
    starts = np.arange(cut.begins_s, duration_s, cut.seconds).tolist()
    pairs = [(start_s, min(start_s + cut.seconds, duration_s)) for start_s in starts]
    return [(start_s, end_s, cut) for start_s, end_s in pairs if end_s - start_s >= 2]
