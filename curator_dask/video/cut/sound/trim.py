"""Sound ends with the span of its clip, within one packet.

The segment muxer gives a packet of sound to the file that is open when the packet comes, and the next file opens with
its first picture. Sound between the start of a span and its first picture therefore ends up in the file before::

    pictures   #  #  #  #           #  #  #  #        spans of 2 s at a stride of 5.5 s
    sound      ----------          -----------
    file 0     |--------           -|                 one packet too many: the file lasts 5.5 s
    file 1                           |--------|

Files with such a tail are copied without it: packets are copied as they are, none is encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.video.cut.sound.mp4_boxes import sound_tracks
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

REPRODUCIBLE = (
    *("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact"),
    *("-flags:v", "+bitexact", "-flags:a", "+bitexact"),
)
"""Options of an output without dates, versions and names."""
_SAMPLES_PER_PACKET = 1024
"""Samples in a packet of AAC, the only sound that clips have."""
_FILES_PER_PROCESS = 32
_TIMEOUT_S = 120.0
_COPIED_BYTES_PER_SECOND = 10_000_000


@dataclass(frozen=True, slots=True)
class SoundLimit:
    """A clip file of this package, and where its sound must end, in seconds from its first frame."""

    path: Path
    end_s: float

    def is_broken(self) -> bool:
        """Whether a packet of the file's sound starts at the limit or later."""
        last_s = last_packet_s(self.path)
        return last_s is not None and last_s >= self.end_s


def trim_sound(limits: Sequence[SoundLimit]) -> None:
    """Cut the sound of every file to its limit. Files that keep it are not touched. Raises MediaError("cut-failed")."""
    broken = [limit for limit in limits if limit.is_broken()]
    for at in range(0, len(broken), _FILES_PER_PROCESS):
        _copy_trimmed(broken[at : at + _FILES_PER_PROCESS])


def last_packet_s(path: Path) -> float | None:
    """When the last packet of any sound track starts, in seconds from the first frame; None for a clip without sound."""
    return max((track.end_s - _SAMPLES_PER_PACKET / track.sample_rate for track in sound_tracks(path)), default=None)


def _copy_trimmed(limits: Sequence[SoundLimit]) -> None:
    inputs = [word for limit in limits for word in ffmpeg.input_args(limit.path)]
    outputs = [word for number, limit in enumerate(limits) for word in _output(number, limit)]
    size = sum(limit.path.stat().st_size for limit in limits)
    # Times must stay as they are: the sound of the first clip may begin before its first frame.
    argv = [*ffmpeg.global_args(), "-copyts", *inputs, *outputs]
    finished = sandbox.run(argv, timeout_s=_TIMEOUT_S + size / _COPIED_BYTES_PER_SECOND)
    raise_if_machine_failed(finished, "the sound of clips")
    if finished.returncode != 0:
        raise MediaError("cut-failed", f"the sound of clips could not be cut to their spans: {finished.stderr_tail}")
    for limit in limits:
        _trimmed_path(limit.path).replace(limit.path)


def _output(number: int, limit: SoundLimit) -> list[str]:
    # The packet before a pause is said to last until the next one, which is left out.
    lasting = "setts=duration='if(N,min(DURATION,PREV_OUTDURATION),DURATION)'"
    return [
        *("-map", str(number), "-c", "copy"),
        *("-bsf:a", f"noise=amount=0:drop='gte(pts*tb,{limit.end_s:.9f})',{lasting}"),
        *(*REPRODUCIBLE, "-movflags", "+faststart", "-avoid_negative_ts", "disabled"),
        *("-f", "mp4", str(_trimmed_path(limit.path))),
    ]


def _trimmed_path(path: Path) -> Path:
    return path.with_suffix(".trimmed")
