"""Many clips through the decoders of one process, whose memory must stay flat."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.line import Asked, Came

CLIPS_PER_ROUND = 100
WARM_UP = 50
MOST_GROWTH_MB = 16.0
EVERY_NTH_BY_FFMPEG = 10
MB = 1_000_000


def soak_decoders(asked: Asked, came: Came) -> None:
    number = asked.rounds * CLIPS_PER_ROUND
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults.lines.soak", str(asked.job.undisturbed / "clips"), str(number)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    if finished.returncode != 0:
        came.faults.append(f"the soak ended with {finished.returncode}: {finished.stderr[-300:]}")
        return
    begin, end = json.loads(finished.stdout)
    came.done["clips decoded"] += number
    came.notes.append(f"memory of the process: {begin:.1f} MB after {WARM_UP} clips, {end:.1f} MB at the end")
    came.expect(
        end - begin <= MOST_GROWTH_MB, "soaks with flat memory", f"memory grew from {begin:.1f} to {end:.1f} MB"
    )


def decode(clips: Sequence[Path], number: int) -> tuple[float, float]:
    """The memory of this process in MB, after some clips and after all of them."""
    import psutil

    from curator_dask.video.frames.read import read_clip_frames, read_ready_clip
    from curator_dask.video.frames.sampling import FrameRule

    rule, me, begin = FrameRule.rate(15.0, width=64, height=64), psutil.Process(), 0.0
    for done in range(WARM_UP + number):
        if done == WARM_UP:
            begin = me.memory_info().rss / MB
        path = clips[done % len(clips)]
        (read_ready_clip if done % EVERY_NTH_BY_FFMPEG == 0 else read_clip_frames)(path, rule)
    return begin, me.memory_info().rss / MB


if __name__ == "__main__":
    print(json.dumps(decode(sorted(Path(sys.argv[1]).glob("*.mp4")), int(sys.argv[2]))))
