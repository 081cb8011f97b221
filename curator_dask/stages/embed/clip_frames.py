"""Frames of clips, out of clip files or out of the source video.

Decord reads the clip files that this project encoded and nothing else: on files of unknown origin it returns wrong
frames or hangs. A guarded ffmpeg reads all others, and source videos. Both give the same frames.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.files.video_listing import source_folder
from curator_dask.stages.embed.clip_vectors import CLIPS_PER_BATCH
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedTask

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.video.frames.sampling import FrameRule

    Frames: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

MOST_THREADS_AHEAD = 8
"""More threads would decode faster than any model here computes, and hold the frames of more clips."""

Read: TypeAlias = "tuple[int, ClipToEmbed, Frames | MediaError]"


def read_frames(tasks: Sequence[EmbedTask], rule: FrameRule) -> Iterator[Read]:
    """Yield, per clip: the number of its unit, the clip, and its frames by the rule or the error that left it without."""
    for from_source, group in itertools.groupby(enumerate(tasks), lambda unit: bool(unit[1].source_spans)):
        if from_source:
            for number, task in group:
                yield from ((number, clip, frames) for clip, frames in _frames_of_source(task, rule))
        else:
            yield from _ahead([(number, task, clip) for number, task in group for clip in task.clips], rule)


def _ahead(clips: Sequence[tuple[int, EmbedTask, ClipToEmbed]], rule: FrameRule) -> Iterator[Read]:
    """Read clips in threads, in order, ahead of the consumer. The number of clips that wait is bounded."""
    spec = clips[0][1].spec
    num_threads = spec.decode_threads or threads_ahead(spec.model.options.device)
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[tuple[int, ClipToEmbed, Future[Frames | MediaError]]] = deque()
        for number, task, clip in clips:
            waiting.append((number, clip, pool.submit(_frames_of_clip, task.spec.input, clip, rule)))
            # One batch more than threads: reading goes on while the model computes the last batch.
            if len(waiting) >= num_threads + CLIPS_PER_BATCH:
                yield _done(waiting)
        while waiting:
            yield _done(waiting)


def threads_ahead(torch_device: str) -> int:
    """The number of threads that read for a model on this device: one, or the share of the cores that a GPU has."""
    if not torch_device.startswith("cuda"):
        return 1  # a worker has one core, and the model computes on it
    import torch
    from dask.system import CPU_COUNT

    return max(1, min(MOST_THREADS_AHEAD, CPU_COUNT // max(1, torch.cuda.device_count())))


def _done(waiting: deque[tuple[int, ClipToEmbed, Future[Frames | MediaError]]]) -> Read:
    number, clip, frames = waiting.popleft()
    return number, clip, frames.result()


def _frames_of_clip(folder: Folder, clip: ClipToEmbed, rule: FrameRule) -> Frames | MediaError:
    try:
        with folder.fetched(clip.path) as path:
            return _frames_of_file(path, clip, rule)
    except MediaError as error:
        return error
    except FileNotFoundError:
        return MediaError("clip-missing", f"the clip file {clip.path} is not there any more")


def _frames_of_file(path: Path, clip: ClipToEmbed, rule: FrameRule) -> Frames:
    from curator_dask.video.frames.read import read_clip_frames, read_ready_clip

    if clip.trusted:
        return read_clip_frames(path, rule, duration_s=clip.end_s - clip.start_s)
    return read_ready_clip(path, rule)


def _frames_of_source(task: EmbedTask, rule: FrameRule) -> Iterator[tuple[ClipToEmbed, Frames | MediaError]]:
    from curator_dask.video.frames.read import read_source_frames
    from curator_dask.video.probe import probe_video

    clips = {clip.span_index: clip for clip in task.clips}
    folder = source_folder(task.spec.videos) if task.spec.videos is not None else task.spec.input
    try:
        with folder.fetched(task.clips[0].source) as path:
            for span, frames in read_source_frames(probe_video(path), task.source_spans, rule):
                if span.index in clips:
                    yield clips.pop(span.index), frames
    except MediaError as error:
        yield from ((clip, error) for clip in clips.values())
    except FileNotFoundError:
        missing = MediaError("source-missing", f"the video {printable(task.clips[0].source)} is not there any more")
        yield from ((clip, missing) for clip in clips.values())
