"""Videos made for tests, and clips read back frame by frame."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from curator_dask.video.process import ffmpeg, sandbox

LEVELS = 16
STEP = 14


def run_ffmpeg(*arguments: str) -> None:
    finished = sandbox.run([*ffmpeg.global_args(), *arguments], timeout_s=60)
    assert finished.returncode == 0, finished.stderr_tail


def numbered_video(path: Path, *, num_frames: int = 200, keep: str = "1", extra: tuple[str, ...] = ()) -> Path:
    """Frame N, of 25 a second, shows N in base 16 as two grey levels: the low digit on the left, the high digit on the right.

    Only the frames for which the ``select`` expression ``keep`` holds are written; they keep their times.
    """
    digit = f"if(lt(X,W/2),mod(N,{LEVELS}),floor(N/{LEVELS}))"
    source = f"color=black:size=64x48:rate=25:duration={num_frames / 25},format=gray,geq=lum='16+{STEP}*{digit}'"
    timing = ("-fps_mode", "passthrough", "-enc_time_base", "demux") if keep != "1" else ()
    run_ffmpeg("-f", "lavfi", "-i", f"{source},select='{keep}'", *timing, *extra, str(path))
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
