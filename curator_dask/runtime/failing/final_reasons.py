"""Which failures are final: those whose reason is a property of the bytes. The list names each, with the proof that it is so.

All other failures are open: a signal, too little memory, a full disk, the network, a lost worker or a time limit say
something of the machine. They are tried again in the same run and in the next one. A reason that nobody proved is open.
"""

from __future__ import annotations

from curator_dask.errors import CuratorError, InputError, ParameterError

_HEADER = "FFmpeg read the header to its end and said so; an error of reading the file has another reason"
_MODEL = "the model read all frames of the clip; its fingerprint fixes the arithmetic"

FINAL_REASONS: dict[str, str] = {
    # what the file is
    "empty": "the file system says that the file has 0 bytes",
    "not-a-file": "the file system says that it is a folder, a pipe or a device",
    "not-a-video": _HEADER,
    "format-not-allowed": _HEADER,
    "still-image": _HEADER,
    "no-video-stream": _HEADER,
    "unknown-codec": _HEADER,
    "too-small": _HEADER,
    "too-many-pixels": _HEADER,
    "codec-not-in-mp4": _HEADER,
    "no-timestamps": _HEADER,
    "no-duration": _HEADER,
    "no-framerate": _HEADER,
    "no-believable-duration": "the packets were read to the end of the file, and were counted",
    # what is in it
    "no-frames": "the decoder read to its end, and wrote down the time of each frame: none is in the span",
    "no-key-frame": "the packets were read to their end, and none in the span is a key frame",
    "no-decodable-frame": "the decoder read the packets to their end, and no signal and no lack of memory stopped it",
    "damaged": "the decoder read the packets to their end, and counted those that it could not decode",
    "invalid-data": "ffmpeg ended with its code for bytes that make no sense, and not by a signal",
    "frames-lost": "the lists of decoded and of encoded frames are whole, and their numbers differ",
    "too-long": "the header or the packets give the duration, and the limit is a parameter",
    "too-many-spans": "the header and the parameters give the number of clips",
    "too-many-overlaps": "the rows of the user's table say which spans overlap, and they are an input of the video",
    "too-many-frames": "the frames of the clip were counted",
    "clip-too-long": "the frames of the clip were counted, and the limit is a fixed number of bytes",
    "too-much-output": "the output was counted, and the limit is a fixed number of bytes",
    "stride-below-frame": "the header and the parameters give the number of frames between two clips",
    "no-preview": "ffmpeg ended by itself, and neither a signal nor a lack of room or memory stopped it",
    "shared-clip-ids": "the times of the frames and the parameters give the ids",
    "failed": "a check of this package refused the content; errors of reading and writing have another reason",
    "media": "the file was compared with its record",
    # what a model made of it
    "not-finite": _MODEL,
    "no-vector": _MODEL,
    "zero-vector": _MODEL,
    "too-few-frames": _MODEL,
    "low-quality": _MODEL,
    "no-texture": _MODEL,
}
"""Reason → why it is a property of the bytes."""


MACHINE_ERROR = "machine-error"


def reason_of(error: CuratorError) -> str:
    """The reason of a failure that this error of the package ended: ``failed`` only where the content was refused."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, MemoryError)):
            return MACHINE_ERROR
        cause = cause.__cause__
    return "failed" if isinstance(error, (InputError, ParameterError)) else MACHINE_ERROR


def is_final(reason: str) -> bool:
    """Whether a failure with this reason would fail again, whatever the machine does."""
    return reason in FINAL_REASONS
