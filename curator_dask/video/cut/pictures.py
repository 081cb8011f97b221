"""What encoding does to pictures: one size and shape, one kind of colours, whole frames; and what a user should know of it.

The size of a video may change in mid-stream, and a container may crop its pictures. Only ffmpeg's own log tells, so a
video is cut as it was probed, and once more if its pictures turn out to be others::

    probed 640x480, log 640x360              the container crops: cut again at 640x360
    probed 640x480, log 640x480, 480x640     cut again, and fit the later pictures in between black bars
    probed 640x480, log 640x480, 320x240     the shape is the same: nothing to do but scale
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from curator_dask.video.cut.encoders import TranscodeSettings, encoded_size
from curator_dask.video.cut.result import is_telling
from curator_dask.video.probe import VideoInfo

HDR_TRANSFERS = frozenset({"smpte2084", "arib-std-b67"})
_SAME_SHAPE = 0.01
_MOST_SIZES = 16
_SCALER = "scale@picture"
_SIZE = re.compile(rf"\[{_SCALER} @ \w+\] \[verbose\] w:(\d+) h:(\d+) fmt:\w+ .*? sar:(\d+)/(\d+) -> ".encode())


@dataclass(frozen=True, slots=True)
class PictureSize:
    """The size of decoded pictures, upright and cropped as the file demands."""

    width: int
    height: int
    pixel_aspect: Fraction
    """Width over height of one pixel."""

    @property
    def shape(self) -> float:
        """Width over height of the picture as it is shown."""
        return float(self.width * self.pixel_aspect / self.height)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class LogWatch:
    """Takes the lines of ffmpeg's log: notices the sizes of pictures, and says which lines are worth keeping."""

    def __init__(self) -> None:
        self.sizes: list[PictureSize] = []
        """The different sizes in the order of their first appearance, at most 16."""

    def keep_line(self, line: bytes) -> bool:
        found = _SIZE.match(line)
        if found is None:
            return is_telling(line)
        width, height, numerator, denominator = map(int, found.groups())
        size = PictureSize(width, height, Fraction(numerator, denominator or 1) or Fraction(1))
        if size not in self.sizes and len(self.sizes) < _MOST_SIZES:
            self.sizes.append(size)
        return False


def as_decoded(info: VideoInfo, sizes: Sequence[PictureSize]) -> VideoInfo:
    """The video with the size that its first decoded picture has."""
    return dataclasses.replace(info, width=sizes[0].width, height=sizes[0].height) if sizes else info


def fitted_shape(sizes: Sequence[PictureSize]) -> float | None:
    """The shape to fit all pictures to, that of the first; None if no other would be distorted by stretching."""
    changes = any(abs(size.shape / sizes[0].shape - 1) > _SAME_SHAPE for size in sizes)
    return sizes[0].shape if changes else None


def picture_filters(info: VideoInfo, settings: TranscodeSettings, shape: float | None) -> list[str]:
    """Return the filters between decoder and encoder. Pictures that are not of `shape` get bars; None: none does."""
    width, height = encoded_size(settings.encoder, info.width, info.height)
    size = _scaled_size(shape, width, height) if shape else f"{width}:{height}"
    # RGB has no matrix of its own to go on with, and ffmpeg would write none.
    colours = ":out_color_matrix=bt709:out_range=tv" if info.is_rgb else ""
    fields = ":interl=-1" if settings.deinterlace else ""
    return [
        f"{_SCALER}={size}:flags=bicubic+accurate_rnd+bitexact{colours}{fields}",
        *([f"pad={width}:{height}:-1:-1:eval=frame"] if shape else []),
        "format=yuv420p",
        *(["bwdif=mode=send_frame:deint=interlaced"] if settings.deinterlace else []),
    ]


def _scaled_size(shape: float, width: int, height: int) -> str:
    """Size of the scaled picture, by its shape relative to that of the whole."""
    relative = f"(iw*sar/ih/{shape:.6f})"
    narrow, wide = 1 - _SAME_SHAPE, 1 + _SAME_SHAPE
    return (
        f"w='if(gt({relative},{narrow}),{width},max(2,trunc({width}*{relative}/2)*2))'"
        f":h='if(lt({relative},{wide}),{height},max(2,trunc({height}/{relative}/2)*2))':eval=frame"
    )


def picture_notes(info: VideoInfo, settings: TranscodeSettings, sizes: Sequence[PictureSize]) -> Iterator[str]:
    """What was changed about the pictures, or is unusual about them: sentences for people."""
    if settings.encoder == "copy":
        return
    if sizes and (sizes[0].width, sizes[0].height) != (info.width, info.height):
        yield f"the file crops its pictures from {info.width}x{info.height} to {sizes[0]}, and so do the clips"
    if len({(size.width, size.height) for size in sizes}) > 1 or fitted_shape(sizes):
        bars = ", with black bars where the shape is another" if fitted_shape(sizes) else ""
        yield f"the size of the pictures changes ({', '.join(map(str, sizes))}): all are scaled to the first{bars}"
    if info.is_interlaced and settings.deinterlace:
        yield "the pictures are interlaced: they were deinterlaced, one picture for each"
    elif info.is_interlaced:
        yield "the pictures are interlaced: clips keep both fields in each, but call them progressive; see --deinterlace"
    if info.color_transfer in HDR_TRANSFERS:
        yield (
            f"the pictures are HDR ({info.color_transfer}): clips keep its colour tags and have 8 bits a colour; "
            "brightness was not mapped"
        )
    if info.has_alpha:
        yield "the pictures may be transparent: clips show the colours below and drop the transparency"
