"""Read the frames that a rule chooses, scaled to the size of a model. Each video is decoded once and in order.

There are two readers. Decord reads clips that this package encoded, in this process. An ffmpeg in a sandbox decodes all
other videos: Decord opens playlists, hangs for ever on some crafted files and returns wrong frames of others, while
ffmpeg, decoding in order, was right on every file tried.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from curator_dask.errors import MediaError, ParameterError
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.video.frames import pipe as frame_pipe
from curator_dask.video.frames.pipe import Frames
from curator_dask.video.frames.sampling import FrameRule, Sieve, Times, select_frames, shown_duration_s
from curator_dask.video.pauses import LAST_COPY_S, ends_in_pause, starts_in_pause
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import REASON_OF_EXIT, raise_if_machine_failed
from curator_dask.video.spans import LATE_FRAMES_S, TOLERANCE_S, Span

MAX_CLIP_BYTES = 4 << 30
"""The most memory for the frames of one clip at the model's size: 6 hours of 64x64 at 15 frames per second."""
MAX_ERROR_RATE = 0.05
_LONGEST_REST_S = 120.0
_READ_BYTES_PER_SECOND = 10_000_000


def read_clip_frames(path: Path, rule: FrameRule, *, duration_s: float | None = None) -> Frames:
    """Return the frames that ``rule`` takes of a clip, (T, H, W, 3) uint8 RGB; Decord decodes and resizes them.

    Use it ONLY for clips that this package encoded: Decord runs unprotected in this process, and is exact only on such
    files. Use :func:`read_ready_clip` for all others; it also does the work if Decord is not installed (no ARM build).

    ``duration_s`` is the planned length of the clip, which only a ``spread`` rule uses; by default the length follows
    from the times of the frames. Raises MediaError if the clip cannot be read.
    """
    try:
        import decord
    except ImportError:
        return read_ready_clip(path, rule)
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), width=rule.width, height=rule.height, num_threads=1)
        times_s = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)[:, 0]
        indices = select_frames(times_s, rule, _rule_duration_s(rule, times_s, duration_s))
        _require_clip_fits(len(indices), rule)
        needed, position = np.unique(indices, return_inverse=True)
        frames = reader.get_batch(needed).asnumpy()
    except decord.DECORDError:
        # Decord cannot return frames whose rows it had to pad (widths of 8, 16, 24, 48 …), or the file is broken. The
        # other reader returns such frames, and explains better why a file is broken.
        return read_ready_clip(path, rule)
    except (RuntimeError, IndexError, UnicodeError) as error:
        raise MediaError("unreadable-clip", f"{str(path)!r} cannot be read as a clip: {error}") from error
    return np.ascontiguousarray(frames[position])


def read_ready_clip(path: Path, rule: FrameRule, *, timeout_s: float | None = None) -> Frames:
    """Return the frames that ``rule`` takes of a whole video file, (T, H, W, 3) uint8 RGB. The file may be untrusted.

    Raises MediaError if it cannot be read.
    """
    (frames,) = read_ready_clip_by_rules(path, [rule], timeout_s=timeout_s)
    if isinstance(frames, MediaError):
        raise frames
    return frames


def read_ready_clip_by_rules(
    path: Path, rules: Sequence[FrameRule], *, timeout_s: float | None = None
) -> tuple[Frames | MediaError, ...]:
    """The same for one or two rules, from one decode: for each its frames, or the reason why it has none.

    Raises MediaError if the file cannot be opened as a video.
    """
    info = probe_video(path)
    for _, found in read_source_by_rules(info, [whole_video_span(info)], rules, timeout_s=timeout_s):
        return found
    raise MediaError("no-frames", f"{str(path)!r} has no frames")


def whole_video_span(info: VideoInfo) -> Span:
    """Return one span over the whole video. Raises MediaError("no-duration") if its duration is unknown."""
    if not info.duration_s:
        raise MediaError("no-duration", f"{str(info.path)!r} has no known duration")
    return Span(0, 0.0, info.duration_s)


def read_source_frames(
    info: VideoInfo,
    spans: Sequence[Span],
    rule: FrameRule,
    *,
    max_hold_s: float | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[Span, Frames | MediaError]]:
    """Decode a video of unknown origin once and yield each span with its frames, in the order of ``spans``.

    ``spans`` are in order of their starts and may overlap. Each gets (T, H, W, 3) uint8 RGB, chosen by
    :func:`~curator_dask.video.frames.sampling.select_frames` from the exact times of the frames in ``[start, end)``, or a
    MediaError: ``no-frames`` if there are none, else the error that ended the decoding (``timeout``, ``decode-failed``,
    …). Memory holds only the chosen frames of the unfinished spans. Where a span begins or ends in a pause, the picture
    that is held then is one of its frames, as in its clip; ``max_hold_s`` as in :mod:`~curator_dask.video.pauses`.

    ``timeout_s`` limits the whole time, the caller's own work between spans included. Without it the decoder must get on: it
    is ended when it has given no frame for minutes, more of them for a larger file. The stated duration does not matter.
    """
    reading = read_source_by_rules(info, spans, [rule], max_hold_s=max_hold_s, timeout_s=timeout_s)
    with contextlib.closing(reading):
        for span, (frames,) in reading:
            yield span, frames


def read_source_by_rules(
    info: VideoInfo,
    spans: Sequence[Span],
    rules: Sequence[FrameRule],
    *,
    max_hold_s: float | None = None,
    timeout_s: float | None = None,
) -> Generator[tuple[Span, tuple[Frames | MediaError, ...]], None, None]:
    """The same as :func:`read_source_frames` for one or two rules, from one decode: each span with what each rule takes."""
    if not spans:
        return
    gatherers = [SpanFrames(info, spans, rule, max_hold_s) for rule in rules]
    failure: MediaError | None = None
    try:
        with contextlib.closing(_decode(info, rules, timeout_s)) as decoded:
            for time_s, pictures in decoded:
                yield from _side_by_side([one.offer(time_s, p) for one, p in zip(gatherers, pictures, strict=True)])
                if gatherers[0].is_done:
                    return
    except MediaError as error:
        failure = error
    yield from _side_by_side([one.rest(failure) for one in gatherers])


def _side_by_side(
    found: Sequence[Iterator[tuple[Span, Frames | MediaError]]],
) -> Iterator[tuple[Span, tuple[Frames | MediaError, ...]]]:
    """What each rule has found, span by span. Which spans are over depends on times alone, so all rules give the same ones."""
    for of_rules in zip(*found, strict=True):
        yield of_rules[0][0], tuple(frames for _, frames in of_rules)


class SpanFrames:
    """Sorts the frames of one video, offered in order, into its spans; keeps the chosen frames of unfinished spans."""

    def __init__(
        self, info: VideoInfo, spans: Sequence[Span], rule: FrameRule, max_hold_s: float | None = None
    ) -> None:
        _require_ordered(spans)
        ends_s = [_end_of_span_s(span, spans, info) for span in spans]
        collectors = (_Collector(span, end_s, rule, max_hold_s) for span, end_s in zip(spans, ends_s, strict=True))
        self._pending = deque(collectors)
        self._shown: Frames | None = None

    @property
    def is_done(self) -> bool:
        """Whether every span has been yielded."""
        return not self._pending

    def offer(self, time_s: float, frame: Frames) -> Iterator[tuple[Span, Frames | MediaError]]:
        """Take the next frame, and yield the spans that end before it."""
        for collector in self._pending:
            if time_s < collector.first_s:
                break
            collector.offer(time_s, frame, self._shown)
        self._shown = frame
        while self._pending and time_s >= self._pending[0].last_s:
            done = self._pending.popleft()
            yield done.span, done.result()

    def rest(self, failure: MediaError | None = None) -> Iterator[tuple[Span, Frames | MediaError]]:
        """Yield the spans that are unfinished after the last frame, with their frames or with `failure`."""
        for collector in self._pending:
            yield collector.span, failure or collector.result()
        self._pending.clear()


class _Collector:
    """Gathers the frames of one span. The next frame decides whether the rule takes a frame; if not, it is dropped."""

    def __init__(self, span: Span, last_s: float, rule: FrameRule, max_hold_s: float | None) -> None:
        self.span = span
        self._max_hold_s = max_hold_s
        self._is_over = False
        self.first_s = span.start_s - TOLERANCE_S  # [first, last)
        self.last_s = last_s
        self._rule = rule
        self._sieve = Sieve(rule, span.length_s)
        self._times_s: list[float] = []
        self._frames: dict[int, Frames] = {}
        self._failure: MediaError | None = None

    def offer(self, time_s: float, frame: Frames, shown: Frames | None) -> None:
        """Take the next frame of the video; `shown` is the one before it, which is on the screen until then."""
        if self._failure or self._is_over:
            return
        if shown is not None and not self._times_s and starts_in_pause(self.span, time_s, self._max_hold_s):
            self._add(self.span.start_s, shown)
        self._is_over = time_s >= self.last_s
        if not self._is_over:
            self._add(time_s, frame)
        elif shown is not None and self._times_s and ends_in_pause(self.span, self._times_s[-1], self._max_hold_s):
            self._add(self.span.end_s - LAST_COPY_S, shown)

    def _add(self, time_s: float, frame: Frames) -> None:
        if self._failure:
            return
        newest = len(self._times_s)
        # Times may decrease in a damaged file. The last time is then repeated: the rules need times that never decrease.
        self._times_s.append(max([time_s, *self._times_s[-1:]]))
        self._frames[newest] = frame
        try:
            self._drop_if_unwanted(newest - 1)
            _require_clip_fits(len(self._frames), self._rule)
        except MediaError as error:
            self._failure = error
            self._frames.clear()

    def result(self) -> Frames | MediaError:
        if self._failure:
            return self._failure
        if not self._times_s:
            return MediaError("no-frames", f"the video shows none from {self.span.start_s:g} to {self.span.end_s:g} s")
        times_s = np.array(self._times_s)
        try:
            indices = select_frames(times_s, self._rule, _rule_duration_s(self._rule, times_s, self.span.length_s))
            _require_clip_fits(len(indices), self._rule)
        except MediaError as error:
            return error
        return np.stack([self._frames[index] for index in indices.tolist()])

    def _drop_if_unwanted(self, index: int) -> None:
        if index < 0:
            return
        window = self._times_s[max(index - 1, 0) : index + 2]
        *before, time_s, after_s = (time - self._times_s[0] for time in window)
        if not self._sieve.wants(before[0] if before else None, time_s, after_s):
            del self._frames[index]


def _end_of_span_s(span: Span, spans: Sequence[Span], info: VideoInfo) -> float:
    """Return the end of a span, as in cutting: the last span of a video also takes frames after the header's end."""
    if info.duration_s is None or span.end_s < info.duration_s - TOLERANCE_S:
        return span.end_s - TOLERANCE_S
    longest_s = max(other.length_s for other in spans) if len(spans) > 1 else math.inf
    return min(span.end_s + LATE_FRAMES_S, span.start_s + longest_s) - TOLERANCE_S


def _rule_duration_s(rule: FrameRule, times_s: Times, planned_s: float | None) -> float:
    """Return the clip length for a rule: the planned one for ``spread``, which needs it early, else the shown one."""
    if rule.kind == "spread" and planned_s is not None:
        return planned_s
    return shown_duration_s(times_s)


def _decode(
    info: VideoInfo, rules: Sequence[FrameRule], timeout_s: float | None
) -> Generator[tuple[float, tuple[Frames, ...]], None, None]:
    """Yield every frame of a video in order, scaled: (seconds from the first frame, (H, W, 3) uint8 for each rule)."""
    finished = yield from decode_frames(info, rules, timeout_s=timeout_s)
    _require_success(info, finished)


def decode_frames(
    info: VideoInfo,
    rules: Sequence[FrameRule],
    *,
    scaling: str = frame_pipe.EXACT_SCALING,
    input_options: Sequence[str] = (),
    max_error_rate: float = MAX_ERROR_RATE,
    timeout_s: float | None = None,
) -> Generator[tuple[float, tuple[Frames, ...]], None, sandbox.Finished]:
    """Yield every frame of a video in order: (seconds from the first frame, an (H, W, 3) uint8 picture for each rule).

    Returns how ffmpeg ended. ``scaling`` are flags of its filter ``scale``, ``input_options`` options of its decoder. Raises
    MediaError("timeout").
    """
    with temporary_folder() as folder:
        times_path = folder / "times"
        times_path.touch()
        argv = [
            # A change of frame size must not restart the filters; the scale filter handles it.
            *(*ffmpeg.global_args(), "-reinit_filter", "0", *input_options),
            *ffmpeg.input_args(info.path, max_error_rate=max_error_rate),
            *("-filter_complex", f"[0:{info.video_stream}]{frame_pipe.filters(info, rules, scaling)}[v]"),
            *frame_pipe.output_args(info, "v", str(times_path)),
        ]
        with sandbox.stream(
            argv,
            timeout_s=timeout_s or _LONGEST_REST_S + info.size_bytes / _READ_BYTES_PER_SECOND,
            progress=None if timeout_s else functools.partial(sandbox.bytes_below, folder),
        ) as child:
            yield from frame_pipe.read_frames(child, times_path, rules)
            return child.finish()


def _require_success(info: VideoInfo, finished: sandbox.Finished) -> None:
    name = repr(str(info.path))
    raise_if_machine_failed(finished, name)
    if finished.returncode != 0:
        lines = finished.stderr_tail.strip().splitlines() or ["no message"]
        reason = REASON_OF_EXIT.get(finished.returncode, "decode-failed")
        raise MediaError(reason, f"{name}: ffmpeg ended with {finished.returncode}: {lines[-1]}")


def _require_clip_fits(num_frames: int, rule: FrameRule) -> None:
    num_bytes = num_frames * rule.width * rule.height * 3
    if num_bytes > MAX_CLIP_BYTES:
        raise MediaError(
            "clip-too-long",
            f"{num_frames} frames of {rule.width}x{rule.height} take {num_bytes / 2**30:.1f} GiB; cut it into clips",
        )


def _require_ordered(spans: Sequence[Span]) -> None:
    for before, after in itertools.pairwise(spans):
        if after.start_s < before.start_s:
            raise ParameterError(
                f"spans must be in order of their starts, but {after.start_s} follows {before.start_s}"
            )
    if any(math.isnan(span.start_s) or math.isnan(span.end_s) for span in spans):
        raise ParameterError("a span's start or end is not a number")
