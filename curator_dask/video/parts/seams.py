"""Whether decoding may begin at a place: the frames around it are decoded twice, from there and from further back.

Both must give the same pictures at the same times, and the times must be those of the packets as they were read from the
start of the file. So an index that is wrong, pictures that lean on others before the key frame (open groups), or a decoder
that takes long to recover are noticed, whatever the cause.
"""

from __future__ import annotations

import numpy as np

from curator_dask.video.cut.plan import PartStart
from curator_dask.video.parts.borders import Border
from curator_dask.video.parts.packets import PacketTimes
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

COMPARED_S = 2.0
"""So much is compared behind the border."""
_READ_BEYOND_S = 1.0
"""Frames are stored out of order."""
_TIMEOUT_S = 3600.0
"""Far more than two minutes of any video take: a plan must not depend on how busy a machine is."""

Hashes = dict[int, str]
"""Tick → digest of the picture."""


def start_at(border: Border, info: VideoInfo, packets: PacketTimes, late_s: float) -> PartStart | None:
    """Where the part behind a border begins; None if decoding cannot begin there. Raises MediaError("timeout").

    `late_s` is how much later than the clock of the file the pictures start, as `video.cut.command.late_start_s` has it.
    """
    zero, tick_s = int(packets.shown[0]), packets.tick_s
    zero_s = float(zero * tick_s)
    last_s = border.begin_s + COMPARED_S
    first, last = int(packets.shown[border.first]), zero + int(last_s / tick_s)
    start = PartStart(zero_s + border.seek_s, float((first - zero) * tick_s), zero, tick_s)
    from_here = _hashes(info, start.seek_s, zero_s + last_s, late_s)
    earlier_s = None if border.earlier_seek_s is None else zero_s + border.earlier_seek_s
    from_further_back = _hashes(info, earlier_s, zero_s + last_s, late_s)
    if from_here is None or from_further_back is None or min(from_here, default=0) != first:
        return None
    wanted = packets.shown[(packets.shown >= first) & (packets.shown <= last)].tolist()
    same = all(from_here.get(tick) == from_further_back.get(tick) is not None for tick in wanted)
    return start if same and sum(tick <= last for tick in from_here) == len(np.unique(wanted)) == len(wanted) else None


def _hashes(info: VideoInfo, seek_s: float | None, end_s: float, late_s: float) -> Hashes | None:
    """The frames from one time on and, at least, to another; None if the decoder complains."""
    seek = [] if seek_s is None else ["-ss", f"{seek_s:.6f}"]
    limit = ["-t", f"{end_s - (seek_s or 0.0) + _READ_BEYOND_S:.6f}"]
    shift = ["-itsoffset", f"{-late_s:.6f}"] if late_s else []
    argv = [
        *(*ffmpeg.global_args(), "-copyts", "-start_at_zero", *shift, *limit, *seek, *ffmpeg.input_args(info.path)),
        *("-map", f"0:{info.video_stream}", "-fps_mode:v", "passthrough", "-enc_time_base:v", "demux"),
        *("-c:v", "rawvideo", "-f", "framemd5", "pipe:1"),
    ]
    finished = sandbox.run(argv, timeout_s=_TIMEOUT_S)
    raise_if_machine_failed(finished, repr(str(info.path)))
    if finished.returncode != 0 or finished.stderr_lines:
        return None
    lines = [line for line in finished.stdout.decode("ascii", "replace").splitlines() if not line.startswith("#")]
    rows = [[field.strip() for field in line.split(",")] for line in lines]
    return {int(row[2]): row[-1] for row in rows if len(row) >= 6}
