"""Which edits of a clip an embedding still recognises: real clips, each edited in fifteen ways.

    python -m benchmarks.near_duplicates [--video-dir DIR] [--seconds 4] [--clips-per-video 3] [--models pdqf_tmk_nobars ...]

Without --video-dir it takes the project's real test videos. Every video is cut into clips of the given length; these are
the originals, and the edited clips are their copies. "Recall at zero false pairs" is the share of copies that are closer
to their original than any two clips that show different things are to each other.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from curator_dask.cli.output.calibration_report import calibration_report
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.calibrate.stage import CalibrateStage
from curator_dask.stages.split.stage import SplitStage

# Videos cut from one film, two videos of one chair, and a film of a still camera: two clips of one group look alike for a
# reason, so they count neither as found nor as false.
SAME = (
    ("pancake_10s.mkv",),
    ("bbb_30s_vp8_vorbis.webm", "bbb_642x642_vp9.webm", "bbb_firstpts10_sar.mp4", "bunny_1080p60.ts"),
    ("neardup_chair19.mp4", "neardup_chair22logo.mp4"),
    ("bottle_40s_360p29_83.mp4", "made_vfr_640x360.mp4"),
    ("car_30s_432p12_5_aac.mp4", "made_odd_641x361_vp9.webm"),
)
REAL = Path(__file__).resolve().parents[2] / "shared" / "videos" / "real"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video-dir", default=str(REAL))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clips-per-video", type=int, default=3, help="0 for all")
    parser.add_argument("--num-clips", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=["pdqf_tmk_nobars", "pdqf_tmk"])
    parser.add_argument("--model-dir", default="./models")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
        with LazyCluster(settings) as cluster:
            measure(options, Path(scratch), RunContext(cluster))


def measure(options: argparse.Namespace, scratch: Path, context: RunContext) -> None:
    SplitStage(
        options.video_dir, str(scratch / "clips"), fixed_stride_split_duration=options.seconds,
        fixed_stride_min_clip_length_s=options.seconds * 0.75, limit_clips=options.clips_per_video,
    ).run(context=context)  # fmt: skip
    for model in options.models:
        stage = CalibrateStage(
            str(scratch / "clips"), str(scratch / "found" / model.replace("/", "_")), model, options.model_dir,
            num_clips=options.num_clips, known_duplicates=SAME,
        )  # fmt: skip
        result = stage.run(context=context)
        print(f"\n## {model}, clips of {options.seconds:g} s\n")
        print(calibration_report(stage.calibration()))
        print(f"\n{result.counts['clips_failed']} clips without a usable vector are left out, {result.seconds:.0f} s")


if __name__ == "__main__":
    main()
