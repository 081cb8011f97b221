"""Read the frames of clips on a worker, in order and ahead of the model.

Frames come from one of two places. From clip files: Decord reads those that this project encoded, and no others, because
on files of unknown origin it returns wrong frames or hangs; an ffmpeg process with limits reads all others. Or from the
source video, by a process that only decodes; the frames are those that the cutting process has (see `VectorTap`).

Where the model and the track see different frames, the track comes from the cut (see `cut_tracks`). Where there was
none, as with ready clips, one ffmpeg gives the frames of both from one decode. Decord cannot: a clip of this project
whose track the cut did not leave is read twice.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.files.video_listing import source_folder
from curator_dask.stages.embed.clip_tracks import ClipFrames
from curator_dask.stages.embed.clip_vectors import CLIPS_PER_BATCH
from curator_dask.stages.embed.cut_tracks import read_tracks_of_cut
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedTask

if TYPE_CHECKING:
    from curator_dask.models.base import Frames
    from curator_dask.models.pdqf.track import Track
    from curator_dask.video.frames.sampling import FrameRule

MOST_THREADS_AHEAD = 8
"""More threads would decode faster than any model here computes, and hold the frames of more clips."""

DAMAGED = frozenset({"empty", "not-a-video", "no-video-stream", "no-decodable-frame", "damaged", "invalid-data"})
"""Reasons that say of a clip that this project cut itself that its file was changed afterwards."""

Rules: TypeAlias = "tuple[FrameRule, ...]"
"""The rule of the model's frames, and that of the track's where it is another one."""
Read: TypeAlias = tuple[int, ClipToEmbed, ClipFrames]
"""The number of a clip's unit, the clip, and its frames or the reason why there are none."""


def read_frames(tasks: Sequence[EmbedTask], rules: Rules) -> Iterator[Read]:
    """The frames of all clips, as the rules choose them, in the order of the units."""
    for from_source, group in itertools.groupby(enumerate(tasks), lambda unit: bool(unit[1].source_spans)):
        if from_source:
            for number, task in group:
                if not task.clips:
                    continue
                yield from ((number, clip, frames) for clip, frames in _read_source_or_tracks(task, rules))
        else:
            yield from _read_ahead([(number, task) for number, task in group if task.clips], rules)


def _ready_tracks(task: EmbedTask, rules: Rules) -> dict[str, Track]:
    """The tracks that the cut has made, by clip id. Where the track is made of the model's own frames, none are needed."""
    return read_tracks_of_cut(task.spec.input, task.of_cut) if len(rules) > 1 else {}


def _read_source_or_tracks(task: EmbedTask, rules: Rules) -> Iterator[tuple[ClipToEmbed, ClipFrames]]:
    tracks = _ready_tracks(task, rules)
    if not all(clip.id in tracks for clip in task.clips):
        yield from read_source(task, rules)
    else:
        for clip, frames in read_source(task, rules[:1]):
            yield clip, ClipFrames(frames.model, tracks[clip.id])


def threads_ahead(torch_device: str) -> int:
    """How many threads read for a model on this device: beside a GPU, its share of the cores that this process may use."""
    if not torch_device.startswith("cuda"):
        return 1  # a worker has one core, and the model computes on it
    import torch
    from dask.system import CPU_COUNT

    return max(1, min(MOST_THREADS_AHEAD, CPU_COUNT // max(1, torch.cuda.device_count())))


def _read_ahead(tasks: Sequence[tuple[int, EmbedTask]], rules: Rules) -> Iterator[Read]:
    """Read clips in threads, a bounded number ahead of the consumer, and give them in order."""
    if not tasks:
        return
    spec = tasks[0][1].spec
    num_threads = spec.decode_threads or threads_ahead(spec.model.options.device)
    # One batch more than the threads, so that they read on while the model computes the last batch.
    most_waiting = num_threads + CLIPS_PER_BATCH
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[tuple[int, ClipToEmbed, Future[ClipFrames]]] = deque()
        for number, task in tasks:
            tracks = _ready_tracks(task, rules)
            for clip in task.clips:
                job = pool.submit(_frames_of_clip, task.spec.input, clip, rules, tracks.get(clip.id))
                waiting.append((number, clip, job))
                if len(waiting) >= most_waiting:
                    yield _first_read(waiting)
        while waiting:
            yield _first_read(waiting)


def _first_read(waiting: deque[tuple[int, ClipToEmbed, Future[ClipFrames]]]) -> Read:
    number, clip, frames = waiting.popleft()
    return number, clip, frames.result()


def _frames_of_clip(folder: Folder, clip: ClipToEmbed, rules: Rules, track: Track | None) -> ClipFrames:
    try:
        with folder.local_copy(clip.path) as path:
            _require_there(path)
            if track is not None:
                return ClipFrames(_frames_or_errors(path, clip, rules[:1])[0], track)
            return ClipFrames(*_frames_or_errors(path, clip, rules))
    except FileNotFoundError:
        return ClipFrames(MediaError("clip-missing", f"the clip file {clip.path} is not there any more"))


def _frames_or_errors(path: Path, clip: ClipToEmbed, rules: Rules) -> tuple[Frames | MediaError, ...]:
    """For each rule the frames that it takes of a clip, or the reason why it has none."""
    from curator_dask.video.frames.read import read_ready_clip_by_rules

    if clip.trusted:
        return tuple(_frames_of_cut_clip(path, clip, rule) for rule in rules)
    try:
        return read_ready_clip_by_rules(path, rules)
    except MediaError as error:
        return (error,) * len(rules)


def _frames_of_cut_clip(path: Path, clip: ClipToEmbed, rule: FrameRule) -> Frames | MediaError:
    from curator_dask.video.frames.read import read_clip_frames

    try:
        return read_clip_frames(path, rule, duration_s=clip.end_s - clip.start_s)
    except MediaError as error:
        if error.reason in DAMAGED:
            return MediaError(
                "clip-damaged", f"{error}. It was whole when it was cut: curator-dask verify OUT --repair"
            )
        return error


def _require_there(path: Path) -> None:
    """Raise FileNotFoundError for a local file that is gone; decoders have other words for it."""
    if not path.exists():
        raise FileNotFoundError(path)


def read_source(task: EmbedTask, rules: Rules) -> Iterator[tuple[ClipToEmbed, ClipFrames]]:
    """The frames of the clips of one video, from one pass over it for all rules."""
    from curator_dask.video.frames.read import read_source_by_rules
    from curator_dask.video.probe import probe_video

    clips = {clip.span_index: clip for clip in task.clips}
    try:
        with _videos_of(task).local_copy(task.clips[0].source) as path:
            _require_there(path)
            info, held = probe_video(path), task.max_hold_s
            for span, found in read_source_by_rules(info, task.source_spans, rules, max_hold_s=held):
                if span.index in clips:
                    yield clips.pop(span.index), ClipFrames(*found)
    except MediaError as error:
        yield from ((clip, ClipFrames(error)) for clip in clips.values())
    except FileNotFoundError:
        missing = MediaError("source-missing", f"the video {printable(task.clips[0].source)} is not there any more")
        yield from ((clip, ClipFrames(missing)) for clip in clips.values())


def _videos_of(task: EmbedTask) -> Folder:
    if task.spec.videos is None:
        raise MediaError("source-missing", "the source videos are needed, and video_dir does not name them")
    return source_folder(task.spec.videos)
