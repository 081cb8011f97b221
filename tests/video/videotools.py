"""Videos made for tests, and clips read back frame by frame."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from curator_dask.video import ffmpeg, sandbox

LEVELS = 16
STEP = 14


def run_ffmpeg(*arguments: str) -> None:
    finished = sandbox.run([*ffmpeg.global_args(), *arguments], timeout_s=60)
    assert finished.returncode == 0, finished.stderr_tail


def numbered_video(
    path: Path, *, num_frames: int = 200, rate: str = "25", keep: str = "1", extra: tuple[str, ...] = ()
) -> Path:
    """Frame N shows N as two grey levels, left the low digit and right the high one, base 16; frames not ``keep`` are left out."""
    digit = f"if(lt(X,W/2),mod(N,{LEVELS}),floor(N/{LEVELS}))"
    source = f"color=black:size=64x48:rate={rate},format=gray,geq=lum='16+{STEP}*{digit}',select='{keep}'"
    options = ("-frames:v", str(num_frames)) if keep == "1" else ("-t", str(num_frames * 1.0))
    run_ffmpeg("-f", "lavfi", "-i", source, *options, "-fps_mode", "passthrough", *extra, str(path))
    return path


def frame_numbers(path: Path) -> list[int]:
    """The numbers that the frames of a :func:`numbered_video`, or of a clip of one, show."""
    with av.open(str(path)) as container:
        return [shown_number(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def shown_number(picture: np.ndarray) -> int:
    half = picture.shape[1] // 2
    low, high = picture[:, : half - 2].mean(), picture[:, half + 2 :].mean()
    return round((low - 16) / STEP) + LEVELS * round((high - 16) / STEP)


def frame_times(path: Path) -> list[float]:
    """Seconds from the first frame."""
    with av.open(str(path)) as container:
        stamps = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    return [stamp - stamps[0] for stamp in stamps]
