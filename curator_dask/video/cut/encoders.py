"""Settings and options of the encoders. Text only; ffmpeg.py tests whether an encoder works on this machine."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from curator_dask.errors import ParameterError

Encoder = Literal["libopenh264", "libx264", "h264_nvenc", "copy"]
ENCODERS: tuple[Encoder, ...] = ("libopenh264", "libx264", "h264_nvenc", "copy")
MP4_VIDEO_CODECS = frozenset({"h264", "hevc", "vvc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video"})
"""Codecs that MP4 files may hold and players can play; such video can be copied."""

_MACROBLOCK = 16
_MAX_SIDE: Mapping[str, int] = MappingProxyType({"libopenh264": 8192, "libx264": 16384, "h264_nvenc": 4096})
_MAX_MACROBLOCKS: Mapping[str, int] = MappingProxyType({"libopenh264": 256 * 144, "h264_nvenc": 256 * 256})
_CONSTANT_QUALITY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "libopenh264": ("-rc_mode", "off"),
        "libx264": ("-crf", "23"),
        "h264_nvenc": ("-rc", "vbr", "-cq", "23", "-b:v", "0"),
    }
)
_AT_BIT_RATE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"libopenh264": ("-rc_mode", "quality"), "libx264": (), "h264_nvenc": ("-rc", "vbr")}
)
# No B-frames: clips then need no edit list. Forced key frames must be IDR, or the file that starts there cannot be
# decoded.
_ALWAYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "libopenh264": ("-profile:v", "high", "-coder", "cabac"),
        "libx264": ("-preset", "veryfast", "-bf", "0", "-forced-idr", "1"),
        "h264_nvenc": ("-preset", "p4", "-bf", "0", "-forced-idr", "1", "-no-scenecut", "1"),
    }
)


@dataclass(frozen=True, slots=True)
class TranscodeSettings:
    """How clips are encoded. Raises ParameterError for impossible values."""

    encoder: Encoder = "libopenh264"
    """``copy`` does not encode: it is fast and exact, but cuts fall on key frames of the source."""
    encoder_threads: int = 1
    """Encoder threads per ffmpeg process. libopenh264 writes the same bytes for any number, libx264 does not."""
    bit_rate: str | None = None
    """A bit rate such as ``4M`` or ``800k``; None means constant quality."""
    use_input_bit_rate: bool = False
    """Whether to encode at the bit rate of the source, if it is known; this overrides ``bit_rate``."""
    audio: str = "1"
    """The sound of the clips: the number of one track (1 is the first), ``all`` or ``none``. AAC is copied where its
    configuration never changes; other sound becomes AAC stereo at 128 kbit/s."""
    deinterlace: bool = False
    """Whether interlaced pictures are made whole; the frames and their times stay the same."""
    max_error_rate: float = 0.05
    """The share of frames that may fail to decode; with more, the video is refused as damaged."""
    max_hold_s: float | None = None
    """How much of a clip, at its start or end, may show a picture that is held over a pause; None: all of it."""
    timeout_s: float | None = None
    """Wall-clock limit per video. None: there is none, but ffmpeg must get on; how soon follows from the size of file and
    pictures, not from the stated duration."""

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ParameterError(f"transcode_encoder ({self.encoder!r}) must be one of {', '.join(ENCODERS)}")
        if self.encoder_threads < 1:
            raise ParameterError(f"transcode_encoder_threads ({self.encoder_threads}) must be >= 1")
        if self.bit_rate is not None and not re.fullmatch(r"[1-9]\d*[kKM]?", self.bit_rate):
            raise ParameterError(f"transcode_bit_rate ({self.bit_rate!r}) must be a number with k or M, such as 4M")
        if not re.fullmatch(r"all|none|[1-9]\d*", self.audio):
            raise ParameterError(f"audio ({self.audio!r}) must be all, none or the number of a track, such as 1")
        if self.deinterlace and self.encoder == "copy":
            raise ParameterError("transcode_encoder copy changes no pictures: choose another encoder to deinterlace")
        if not 0 <= self.max_error_rate <= 1:
            raise ParameterError(f"max_error_rate ({self.max_error_rate}) must be between 0 and 1")
        if self.max_hold_s is not None and not self.max_hold_s >= 0:
            raise ParameterError(f"max_hold_s ({self.max_hold_s}) must be >= 0 (0 to hold no picture)")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ParameterError(f"timeout_s ({self.timeout_s}) must be > 0")


def encoder_args(settings: TranscodeSettings, input_bit_rate: int | None) -> list[str]:
    """Return the options of the video encoder. Do not call it for ``copy``."""
    name = settings.encoder
    bit_rate = str(input_bit_rate) if settings.use_input_bit_rate and input_bit_rate else settings.bit_rate
    rate = _CONSTANT_QUALITY[name] if bit_rate is None else (*_AT_BIT_RATE[name], "-b:v", bit_rate)
    return ["-c:v", name, *rate, *_ALWAYS[name], "-threads:v", str(settings.encoder_threads)]


def encoded_size(encoder: Encoder, width: int, height: int) -> tuple[int, int]:
    """Return the even size at which to encode a picture. Over the encoder's limit it shrinks and keeps its aspect.

    >>> encoded_size("libx264", 641, 361), encoded_size("h264_nvenc", 8192, 4096)
    ((640, 360), (4096, 2048))
    """
    scale = min(1.0, _MAX_SIDE[encoder] / max(width, height))
    limit = _MAX_MACROBLOCKS.get(encoder)
    if limit is not None and _macroblocks(width * scale, height * scale) > limit:
        scale = math.sqrt(limit * _MACROBLOCK**2 / (width * height))
        while _macroblocks(width * scale, height * scale) > limit:
            scale *= 0.999
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _macroblocks(width: float, height: float) -> int:
    return math.ceil(int(width) / _MACROBLOCK) * math.ceil(int(height) / _MACROBLOCK)
