"""Strips: a few pictures of a clip side by side in one small WebP image."""

from __future__ import annotations

from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.video.process.ffmpeg import global_args, input_args
from curator_dask.video.process.machine_faults import raise_if_machine_failed
from curator_dask.video.process.sandbox import run

PICTURES = 6
WIDTH, HEIGHT = 160, 90
QUALITY = 70
TIMEOUT_S = 60.0


def write_strip(clip: Path, target: Path, length_s: float) -> None:
    """Write `PICTURES` pictures of a clip, evenly spread over its length, side by side. Each keeps its shape, in bars.

    Raises MediaError if ffmpeg cannot read the clip or takes longer than a minute.
    """
    finished = run(
        [*global_args(), *input_args(clip), *_output_args(length_s), "-f", "webp", f"file:{target}"],
        timeout_s=TIMEOUT_S,
    )
    raise_if_machine_failed(finished, repr(str(clip)))
    if finished.returncode != 0 or not target.exists() or not target.stat().st_size:
        raise MediaError("no-preview", f"ffmpeg made no preview: {finished.stderr_tail.strip()[-300:]}")


def _output_args(length_s: float) -> list[str]:
    rate = PICTURES / max(length_s, 0.1)
    filters = (
        f"fps={rate:.6f}:start_time=0:round=down",
        f"scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease:flags=area+accurate_rnd+bitexact",
        f"pad={WIDTH}:{HEIGHT}:(ow-iw)/2:(oh-ih)/2:black",
        "setsar=1",
        f"tpad=stop_mode=clone:stop={PICTURES}",  # where frames are missing at the end, the last picture stays
        f"tile={PICTURES}x1",
    )
    encoding = ("-frames:v", "1", "-c:v", "libwebp", "-quality", str(QUALITY), "-pix_fmt", "yuv420p")
    return ["-an", "-sn", "-vf", ",".join(filters), *encoding, "-fflags", "+bitexact", "-flags:v", "+bitexact"]
