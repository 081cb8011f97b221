"""All frames of a video, 48 pixels wide and 27 high: small enough to look for shots in each of them.

The frames must be known before the video is cut, so they cost a decoding of their own. It leaves out what cannot be seen
at this size (the filter that smooths the edges of blocks). Their times are those of the process that cuts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

import numpy as np

from curator_dask.errors import MediaError
from curator_dask.video.frames.pipe import Frames
from curator_dask.video.frames.read import decode_frames
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process.machine_faults import raise_if_machine_failed

WIDTH, HEIGHT = 48, 27
FRAMES_PER_BLOCK = 250
_SCALING = "area+accurate_rnd+bitexact"
_FAST = ("-skip_loop_filter", "all")
_RULE = FrameRule.rate(1.0, width=WIDTH, height=HEIGHT)


class SmallFrames:
    """The frames of one video in blocks, in order. Memory holds one block."""

    def __init__(self, info: VideoInfo, timeout_s: float | None = None) -> None:
        self._info = info
        self._timeout_s = timeout_s
        self.times_s: list[float] = []
        """Seconds from the first frame, of the frames that came so far."""

    def blocks(self) -> Iterator[Frames]:
        """Yield blocks of (N, 27, 48, 3) uint8 RGB. Raises MediaError: ``no-decodable-frame``, ``timeout``, and those of
        ``process/machine_faults``.

        What else is wrong with the file says the process that cuts it: it decodes the same frames.
        """
        frames: list[Frames] = []
        with contextlib.closing(self._decode()) as decoded:
            for frame in decoded:
                frames.append(frame)
                if len(frames) == FRAMES_PER_BLOCK:
                    yield np.stack(frames)
                    frames = []
        if frames:
            yield np.stack(frames)
        if not self.times_s:
            raise MediaError("no-decodable-frame", f"{str(self._info.path)!r}: no frame could be decoded")

    def _decode(self) -> Generator[Frames, None, None]:
        running = decode_frames(
            self._info, [_RULE], scaling=_SCALING, input_options=_FAST, max_error_rate=1.0, timeout_s=self._timeout_s
        )
        with contextlib.closing(running):
            try:
                while True:
                    time_s, (frame,) = next(running)
                    self.times_s.append(time_s)
                    yield frame
            except StopIteration as end:
                raise_if_machine_failed(end.value, repr(str(self._info.path)))
